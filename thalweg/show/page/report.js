"use strict";
(() => {
  const said = document.querySelector(".said");

  async function copy(text) {
    if (navigator.clipboard && window.isSecureContext) {
      try {
        await navigator.clipboard.writeText(text);
        return true;
      } catch { /* not allowed here: the older way may be */ }
    }
    const area = document.createElement("textarea");
    area.value = text;
    area.style.position = "fixed";
    area.style.opacity = "0";
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }

  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const copied = await copy(button.parentElement.querySelector("code").textContent);
      button.focus();
      button.textContent = copied ? "Copied" : "Select and copy by hand";
      said.textContent = button.textContent;
      setTimeout(() => { button.textContent = "Copy"; said.textContent = ""; }, 2000);
    });
  }

  function colours() {
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--tw-soft").trim();
    const paper = style.getPropertyValue("--tw-paper").trim();
    return {
      "font.color": ink,
      "modebar.color": ink,
      "modebar.activecolor": style.getPropertyValue("--tw-ink").trim(),
      "modebar.bgcolor": "rgba(0,0,0,0)",
      "hoverlabel.bgcolor": paper,
      "hoverlabel.font.color": style.getPropertyValue("--tw-ink").trim(),
    };
  }

  async function source(element) {
    const packed = Uint8Array.from(atob(element.textContent.trim()), (c) => c.charCodeAt(0));
    element.remove();
    const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(unpacked).text();
  }

  async function draw() {
    const figures = JSON.parse(document.getElementById("figures").textContent);
    if (!Object.keys(figures).length) return;
    const script = document.createElement("script");
    script.textContent = await source(document.getElementById("plotly"));
    document.head.append(script);
    const touch = matchMedia("(pointer: coarse)").matches;
    const config = { displaylogo: false, responsive: true, displayModeBar: matchMedia("(hover: hover)").matches ? "hover" : false, showSendToCloud: false,
                     modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
    const drawn = [];
    const places = Object.keys(figures).map((key) => document.getElementById("plot-" + key));
    const show = async (place) => {
      const figure = figures[place.id.slice("plot-".length)];
      if (touch) { /* a finger scrolls the page */
        figure.layout.dragmode = false;
        for (const name of Object.keys(figure.layout)) {
          if (name.startsWith("scene")) figure.layout[name].dragmode = false;
        }
      }
      await Plotly.newPlot(place, { ...figure, config });
      await Plotly.relayout(place, colours());
      drawn.push(place);
    };
    if (document.querySelector("main.lesson")) { /* many figures: each when it comes near */
      const near = new IntersectionObserver((entries) => {
        for (const entry of entries.filter((e) => e.isIntersecting)) {
          near.unobserve(entry.target);
          show(entry.target).catch((error) => failed(entry.target, error));
        }
      }, { rootMargin: "600px" });
      for (const place of places) near.observe(place);
      addEventListener("beforeprint", () => {
        near.disconnect();
        for (const place of places) if (!place.classList.contains("js-plotly-plot")) show(place);
      });
    } else {
      for (const place of places) await show(place);
    }
    const paint = () => drawn.forEach((place) => Plotly.relayout(place, colours()));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  }

  function failed(place, error) {
    place.style.minHeight = "0";
    place.textContent = "This picture could not be drawn here (" + error.message + ").";
  }

  draw().catch((error) => {
    for (const place of document.querySelectorAll(".plot")) failed(place, error);
  });
})();
