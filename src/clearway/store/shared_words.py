"""A shared range as a person reads of it: whose it is, who says so, since when."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from clearway.feeds.shared_vendors import VENDORS
from clearway.policy.model import Prefix
from clearway.policy.shared_sources import SharedRule
from clearway.store.change import stamp


def of_rule(rule: SharedRule, now: datetime) -> dict[str, str]:
    """For an error that names the range: who says so, since when."""
    vendor = VENDORS[rule.vendor].title if rule.vendor in VENDORS else rule.vendor
    days = max(0, (now - rule.since).days)
    age = "of today" if days == 0 else f"{days} day{'s' if days > 1 else ''} old"
    return {"range": str(rule.prefix), "vendor": vendor, "source": rule.source, "age": age, "name": rule.name}


def document(rule: SharedRule, target: Prefix, now: datetime) -> dict[str, Any]:
    """As `explain` shows it."""
    return {
        "kind": "shared",
        "class": rule.shared.value,
        "prefix": str(rule.prefix),
        "relation": "covers" if rule.prefix.covers(target) else "within",
        "ranges": rule.name,
        "vendor": rule.vendor,
        "source": rule.source,
        "decision": None,
        "since": stamp(rule.since),
        "until": None,
        "reason": None,
        "age_s": max(0, int((now - rule.since).total_seconds())),
        "enforced": True,
    }
