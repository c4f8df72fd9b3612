"""Every figure of lists, measured in small: it runs, its kinds are all there, what was loaded is enforced, and nothing
is left behind. No number is asserted: a test that shares its machine has none to offer.
"""

import math
import os
import shutil

import pytest

from clearway.bench import run
from clearway.bench.lists_figures import FIGURES, MORE
from clearway.bench.lists_peers import DNSMASQ, IPSET, NFT, UNBOUND, UNBOUND_RPZ, Loader
from clearway.bench.lists_plan import PLANS
from clearway.bench.lists_stand import ListsStand
from clearway.bench.report import Run
from clearway.bench.topology import PREFIX
from clearway.bench.turns import Silent
from clearway.lab.namespace import NETNS_DIRECTORY


def there(*loaders: Loader) -> set[str]:
    return {loader.name for loader in loaders if shutil.which(loader.program)}


KINDS = {
    "parse": {"addresses", "domains", "hosts", "adblock", "rpz", "dnsmasq", "unbound", "wildcard-domains"},
    "all": {"all"},
    "unchanged": {"unchanged"},
    "changed": {"addresses", "names"},
    "load-prefixes": {"clearway", *there(NFT, IPSET)},
    "load-names": {"clearway", *there(UNBOUND, UNBOUND_RPZ, DNSMASQ)},
    "memory-prefixes": {"clearway", MORE, *there(NFT, IPSET)},
    "memory-names": {"clearway", MORE, *there(UNBOUND, DNSMASQ)},
    "wire-bulk": {"before", "during"},
    "wire-packets": {"before", "during"},
}


@pytest.fixture(scope="module")
def measured() -> Run:
    """All of them in one run, as they are published."""
    return run.measure(run.chosen([], FIGURES), PLANS["smoke"], "a test", Silent(), ListsStand)


@pytest.mark.kernel
@pytest.mark.namespaces
@pytest.mark.parametrize("name", list(FIGURES))
def test_a_figure_of_lists_measures_all_its_kinds(name: str, measured: Run) -> None:
    assert measured.failed == {}
    result = next(one for one in measured.results if one.name == name)
    assert {series.kind for series in result.series} == KINDS[name]
    assert all(math.isfinite(value) and value > 0 for series in result.series for value in series.values)


@pytest.mark.kernel
@pytest.mark.namespaces
def test_all_entries_of_all_lists_are_enforced(measured: Run) -> None:
    (series,) = next(one for one in measured.results if one.name == "all").series
    plan = PLANS["smoke"].many
    prefixes = series.detail("v4_prefixes") + series.detail("v6_prefixes")
    # the guard holds back what is shared or protected, and scopes of one name may differ between lists
    assert 0.9 * plan.addresses <= prefixes <= plan.addresses
    assert plan.names <= series.detail("names") <= 1.1 * plan.names
    assert series.detail("peak_mb") > series.detail("kernel_mb") > 0


@pytest.mark.kernel
@pytest.mark.namespaces
def test_a_run_of_lists_leaves_nothing_behind(measured: Run) -> None:
    assert measured.results
    assert [path.name for path in NETNS_DIRECTORY.glob(f"{PREFIX}{os.getpid()}-*")] == []


def test_a_peer_that_is_not_installed_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert IPSET.absent() == "ipset: not installed (package ipset)"


def test_every_figure_has_its_kinds_here() -> None:
    assert set(KINDS) == set(FIGURES)
