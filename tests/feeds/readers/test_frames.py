"""What a list's own lines have around their names is learnt, and reads them as the format's own reader does."""

from __future__ import annotations

import random
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from list_lines_of import lines_of
from test_readers import sample

from clearway.feeds.readers import lines
from clearway.feeds.readers.table import READERS, read

NAMES = [f"host-{number:x}.n{number % 7}.example" for number in range(400)]
LINES = {
    "hosts": [":: {0}", "0.0.0.0   {0}", "0 {0} # x"],
    "domains": ["  {0}", "{0} # x", "http://{0}/"],
    "adblock": ["  ||{0}^", "||{0}^|", "||{0}^$all,important"],
    "rpz": ["{0}\t60\tIN\tCNAME\t.", "{0} IN CNAME *.", "{0}.zone.test. 300 IN CNAME .", "{0} CNAME . ; x"],
    "dnsmasq": ["address = /{0}/0.0.0.0", " local=/{0}/", "address=/.{0}/"],
    "unbound": ['    local-zone: "{0}." always_null', "local-zone: {0} static", 'local-zone: "{0}" transparent'],
    "bind-zone": ['zone "{0}" IN {{ type primary; file "db.empty"; }};', 'zone {0} {{type master; file "x";}};'],
    "ubo-hosts-or-url": ["  {0}", "*.{0}", "{0} # x"],
}
HEADS = {"rpz": "@ 60 IN SOA a. b. 1 2 3 4 5\n", "domains": "# x\n"}
ZONE = "zone.test. 60 IN SOA a. b. 1 2 3 4 5\n"


def both_ways(data: bytes, word: str) -> tuple[list[str], list[str], int, int]:
    """What is read with frames learnt and without; how many lines came to the reader one by one, in each."""
    found: list[list[str]] = []
    slow: list[int] = []
    for bytes_min in (0, 1 << 40):
        seen = mock.Mock(side_effect=lines._others)
        with mock.patch.object(lines, "LEARN_BYTES_MIN", bytes_min), mock.patch.object(lines, "_others", seen):
            found.append(lines_of(read(data, word).content))
        slow.append(max(len(call.args[1]) for call in seen.call_args_list))
    return found[0], found[1], slow[0], slow[1]


@pytest.mark.parametrize(("word", "form"), [(word, form) for word, forms in LINES.items() for form in forms])
def test_lines_of_a_dress_of_their_own_go_fast_and_mean_the_same(word: str, form: str) -> None:
    head = ZONE if "zone.test" in form else HEADS.get(word, "")
    data = (head + "".join(form.format(name) + "\n" for name in NAMES)).encode()
    learnt, plainly, slow, slowly = both_ways(data, word)
    assert learnt == plainly
    assert slowly >= len(NAMES)
    is_refused = not any(line.startswith("name") and not line.endswith("exception") for line in plainly)
    assert slow >= len(NAMES) if is_refused else slow < 20


@pytest.mark.parametrize("word", [word for word, reader in READERS.items() if reader.kind == "lines"])
def test_a_sample_that_is_all_of_a_list_means_the_same(word: str) -> None:
    learnt, plainly, _, _ = both_ways(sample(word), word)
    assert learnt == plainly


@given(st.data())
def test_any_mixture_means_the_same(data: st.DataObject) -> None:
    word = data.draw(st.sampled_from(sorted(LINES)))
    odd = [
        "localhost",
        "com",
        "a..example",
        "192.0.2.7",
        "ip6-x",
        "*.wild.example",
        "32.7.2.0.192.rpz-ip",
        "xn--a",
        "A.B",
    ]
    forms = data.draw(st.lists(st.sampled_from(LINES[word]), min_size=1, max_size=3))
    names = [*NAMES[:60], *data.draw(st.lists(st.sampled_from(odd), max_size=8))]
    random.Random(data.draw(st.integers(0, 99))).shuffle(names)
    text = HEADS.get(word, "") + "".join(forms[at % len(forms)].format(name) + "\n" for at, name in enumerate(names))
    learnt, plainly, _, _ = both_ways(text.encode(), word)
    assert learnt == plainly
