"""docs/figures.md says what the published run measured, and nothing else."""

import json
from pathlib import Path

from clearway.bench.page import markdown


def test_the_page_of_figures_is_made_of_the_run_beside_it(root: Path) -> None:
    document = json.loads((root / "docs/figures.json").read_text())
    assert (root / "docs/figures.md").read_text() == markdown(document), "run: python docs/make.py figures.md"


def test_the_published_run_is_a_full_one_of_figures_that_there_are(root: Path) -> None:
    from clearway.bench.figures import FIGURES

    document = json.loads((root / "docs/figures.json").read_text())
    assert document["plan"] == "full"
    assert {figure["name"] for figure in document["figures"]} <= set(FIGURES)
    assert document["failed"] == []
