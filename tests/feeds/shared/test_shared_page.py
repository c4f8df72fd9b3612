"""The page of shared ranges says what the table of vendors says."""

from __future__ import annotations

import runpy
from pathlib import Path


def test_the_page_says_what_the_table_says(root: Path) -> None:
    page = runpy.run_path(str(root / "docs" / "make.py"))["shared_page"]()
    assert (root / "docs" / "shared-ranges.md").read_text() == page, "run: python docs/make.py"
