"""docs/guard.md says what the rules say."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from clearway.errors import ClearwayError
from clearway.feeds import guard_rules
from clearway.feeds.guard_rules import GUARD_RULES, THRESHOLDS, GuardRule, in_order
from clearway.feeds.readers.rules import RULES


def test_the_page_of_rules_is_made_from_them(root: Path) -> None:
    page = runpy.run_path(str(root / "docs" / "make.py"))["guard_page"]()
    assert (root / "docs" / "guard.md").read_text() == page, "run: python docs/make.py"


def test_each_number_belongs_to_a_rule_and_its_default_can_be_set() -> None:
    ids = {id.partition(".")[0] for id in GUARD_RULES}
    for key, threshold in THRESHOLDS.items():
        assert threshold.rule in ids
        assert guard_rules.parse_setting(f"{key} = {threshold.default}") == (key, threshold.default)
        for outside in (threshold.low - 1, threshold.high + 1, float("nan"), float("inf")):
            with pytest.raises(ClearwayError) as error:
                guard_rules.checked({key: outside})
            assert (error.value.id, key in error.value.message) == ("feeds.E026", True)


def test_ids_are_in_the_order_of_their_numbers() -> None:
    ids = [rule.id for rule in GuardRule]
    assert [id.partition(".")[0] for id in ids] == [id.partition(".")[0] for id in sorted(ids, key=in_order)]
    assert sorted(["G10.cdn", "G9.idn", "G2", "G2.long-line"], key=in_order) == [
        "G2",
        "G2.long-line",
        "G9.idn",
        "G10.cdn",
    ]
    assert {rule.id for rule in RULES}.isdisjoint(GUARD_RULES)
    assert all(guard_rules.sentence_of(rule.id) == rule.sentence for rule in RULES)
