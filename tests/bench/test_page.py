"""docs/figures.md says what the published run measured, and nothing else."""

import json
from pathlib import Path

import pytest

from clearway.bench.page import markdown


def test_the_page_of_figures_is_made_of_the_run_beside_it(root: Path) -> None:
    document = json.loads((root / "docs/figures.json").read_text())
    assert (root / "docs/figures.md").read_text() == markdown(document), "run: python docs/make.py figures.md"


@pytest.mark.skipif(
    not Path(__file__).parents[2].joinpath("docs/figures-names.json").exists(), reason="no run of names is published"
)
def test_the_page_of_names_is_made_of_a_full_run_of_figures_that_there_are(root: Path) -> None:
    from clearway.bench.names_figures import FIGURES

    document = json.loads((root / "docs/figures-names.json").read_text())
    made = markdown(document, "figures-names", "Figures of names")
    assert (root / "docs/figures-names.md").read_text() == made, "run: python docs/make.py figures-names.md"
    assert document["plan"] == "full"
    assert {figure["name"] for figure in document["figures"]} == set(FIGURES)
    assert document["failed"] == []


def test_the_published_run_is_a_full_one_of_figures_that_there_are(root: Path) -> None:
    from clearway.bench.figures import FIGURES

    document = json.loads((root / "docs/figures.json").read_text())
    assert document["plan"] == "full"
    assert {figure["name"] for figure in document["figures"]} <= set(FIGURES)
    assert document["failed"] == []
