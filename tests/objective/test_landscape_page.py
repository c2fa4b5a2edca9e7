"""The page of the landscapes says what the catalogue says."""

import runpy
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_is_the_catalogue() -> None:
    page = runpy.run_path(str(DOCS / "make_landscapes.py"))["page"]()
    assert (DOCS / "landscapes.md").read_text(encoding="utf-8") == page, (
        "run: python docs/make_landscapes.py"
    )
