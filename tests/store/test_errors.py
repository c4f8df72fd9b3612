"""The catalogue of errors, and its page."""

import re
import runpy
from pathlib import Path

import pytest

from clearway import errors
from clearway.errors import CATALOG, ClearwayError, EngineError

ROOT = Path(__file__).resolve().parents[2]
PAGES = runpy.run_path(str(ROOT / "docs" / "make.py"))


def test_each_id_names_an_area_and_a_number() -> None:
    assert [id for id in CATALOG if not re.fullmatch(r"[a-z]+\.E\d{3}", id)] == []
    assert {id.split(".")[0] for id in CATALOG} <= set(PAGES["AREAS"])


def test_each_error_says_what_to_do() -> None:
    assert [id for id, kind in CATALOG.items() if not kind.fix.strip() or not kind.message.strip()] == []
    assert {kind.exit_code for kind in CATALOG.values()} <= {1, 2, 3}


def test_each_error_can_be_built_from_the_fields_it_names() -> None:
    for id, kind in CATALOG.items():
        error = ClearwayError.of(id, **dict.fromkeys(kind.fields(), "x"))
        assert (error.id, error.exit_code, error.retry) == (id, kind.exit_code, kind.retry)


def test_a_missing_field_is_a_defect_not_a_half_message() -> None:
    with pytest.raises(KeyError):
        ClearwayError.of("store.E022", prefix="192.0.2.0/24")


def test_the_page_has_every_id_and_says_what_the_code_says() -> None:
    assert (ROOT / "docs" / "errors.md").read_text() == PAGES["errors_page"](), "run: python docs/make.py"


def test_every_id_in_the_source_is_in_the_catalogue() -> None:
    used = set()
    for path in (ROOT / "src" / "clearway").rglob("*.py"):
        used |= set(re.findall(r'ClearwayError\.of\(\s*"([a-z]+\.E\d+)"', path.read_text()))
    assert used - set(CATALOG) == set()


def test_an_error_survives_the_way_over_json() -> None:
    sent = ClearwayError.of("store.E001", path="/x", seconds="5")
    came = ClearwayError.from_json(sent.as_json())
    assert (came.id, came.message, came.fix, came.exit_code, came.retry) == (
        sent.id,
        sent.message,
        sent.fix,
        3,
        True,
    )


def test_an_id_of_a_newer_daemon_is_told_as_it_came() -> None:
    document = {"error": {"id": "store.E999", "message": "m", "fix": "f", "retry": False}}
    came = ClearwayError.from_json(document)
    assert (str(came), came.exit_code) == ("m [store.E999]", 3)


@pytest.mark.parametrize("kind", EngineError.__subclasses__())
def test_errors_of_the_extension_carry_its_message_whole(kind: type[EngineError]) -> None:
    error = kind("map base_cells: no memory {for it}")
    assert error.message == "map base_cells: no memory {for it}"
    assert error.id == kind.catalog_id
    assert isinstance(error, errors.ClearwayError)
