"""Make the pictures of the pages: a report of a stuck training with its race, and the lesson.

Run it from the repository's root; it needs Chromium: ``.venv/bin/python docs/make_pictures.py``.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import thalweg as tw
from thalweg.clinic import CASES
from thalweg.show.gallery import exhibit
from thalweg.show.lesson import lesson

CASE = "noisy_network"
"""A network at its noise floor: the commonest way to be stuck, with error bars that show."""

WIDTH, HEIGHT = 1400, 1226
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SCHEMES = {".png": 1, "-dark.png": 0}
"""The value of Chromium's preferredColorScheme for each picture."""

EXHIBITS = ("saddle", "flat-minimum")
"""Two that stand beside each other in the picture of the lesson."""

PAGE = """<!DOCTYPE html><meta name="color-scheme" content="light dark">
<style>
  html {{ background: #fbfaf7 }}
  @media (prefers-color-scheme: dark) {{ html {{ background: #14181b }} }}
  body {{ margin: 0; display: flex }}
  iframe {{ flex: 1; height: {height}px; border: 0 }}
  iframe + iframe {{ margin-top: 1.8rem; height: calc({height}px - 1.8rem) }}
</style>
<iframe src="{left}"></iframe><iframe src="{right}"></iframe>"""
"""Two pages, or two places of one, side by side."""


def main() -> int:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"one of {', '.join(BROWSERS)} must be installed", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        for name, (left, right) in {
            "report": _report(Path(folder)),
            "lesson": _lesson(Path(folder)),
        }.items():
            page = Path(folder) / "page.html"
            page.write_text(PAGE.format(left=left, right=right, height=HEIGHT))
            for ending, scheme in SCHEMES.items():
                _draw(browser, page, Path(__file__).parent / f"{name}{ending}", scheme)
    return 0


def _report(folder: Path) -> tuple[str, str]:
    """The verdict and the vital signs, and the race of the same report."""
    torch.manual_seed(0)
    task = CASES[CASE].make(0)
    finding = tw.diagnose(task)
    race = tw.race(task, finding.cures)
    path = tw.report(finding, folder / "of.html", race=race)
    return path.as_uri(), f"{path.as_uri()}#race"


def _lesson(folder: Path) -> list[str]:
    """An exhibit each, of pages that hold one."""
    places = []
    for name in EXHIBITS:
        shown = exhibit(name)
        path = lesson([(shown, shown.build(0))], folder / f"{name}.html")
        places.append(f"{path.as_uri()}#{name}")
    return places


def _draw(browser: str, page: Path, picture: Path, scheme: int) -> None:
    subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--allow-file-access-from-files",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--virtual-time-budget=9000",
            f"--blink-settings=preferredColorScheme={scheme}",
            f"--window-size={WIDTH},{HEIGHT}",
            f"--screenshot={picture}",
            page.as_uri(),
        ],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    print(f"{picture.name}: {picture.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    sys.exit(main())
