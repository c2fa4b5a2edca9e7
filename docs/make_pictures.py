"""Make the pictures of the README: a report of a stuck training with its race, light and dark.

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

CASE = "noisy_network"
"""A network at its noise floor: the commonest way to be stuck, with error bars that show."""

WIDTH, HEIGHT = 1400, 1226
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SCHEMES = {"report.png": 1, "report-dark.png": 0}
"""The value of Chromium's preferredColorScheme for each picture."""

PAGE = """<!DOCTYPE html><meta name="color-scheme" content="light dark">
<style>
  html {{ background: #fbfaf7 }}
  @media (prefers-color-scheme: dark) {{ html {{ background: #14181b }} }}
  body {{ margin: 0; display: flex }}
  iframe {{ flex: 1; height: {height}px; border: 0 }}
  iframe + iframe {{ margin-top: 1.8rem; height: calc({height}px - 1.8rem) }}
</style>
<iframe src="{report}"></iframe><iframe src="{report}#race"></iframe>"""
"""The verdict and the vital signs on the left, the race of the same report on the right."""


def main() -> int:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"one of {', '.join(BROWSERS)} must be installed", file=sys.stderr)
        return 2
    torch.manual_seed(0)
    task = CASES[CASE].make(0)
    finding = tw.diagnose(task)
    race = tw.race(task, finding.cures)
    with tempfile.TemporaryDirectory() as folder:
        path = tw.report(finding, Path(folder) / "of.html", race=race)
        page = Path(folder) / "page.html"
        page.write_text(PAGE.format(report=path.as_uri(), height=HEIGHT))
        for name, scheme in SCHEMES.items():
            _draw(browser, page, Path(__file__).parent / name, scheme)
    return 0


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
