"""What a refused user is told of a list's source: nothing of the machine, and no key."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from clearway.gateway.inspector_names import told_of
from clearway.policy import snapshot
from clearway.policy.compile import compile_base
from clearway.policy.model import Reason

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("https://user:secret@lists.example/bad.txt?key=secret#secret", "https://lists.example/bad.txt?…"),
        ("HTTP://lists.example/bad.txt", "http://lists.example/bad.txt"),
        ("/srv/private/bad.txt", "bad names"),
        ("file:///srv/private/bad.txt", "bad names"),
        ("~/bad.txt", "bad names"),
    ],
)
def test_a_source_is_told_without_its_keys_and_a_file_by_the_name_of_its_list(
    tmp_path: Path, source: str, told: str
) -> None:
    listed = snapshot.SnapshotList("bad names", Reason.MALWARE, "0" * 64, source, NOW, NOW)
    snapshot.write(tmp_path, compile_base([]), [listed], created=NOW)
    ((rule, reason, _, found, _),) = told_of(snapshot.load(tmp_path / snapshot.CURRENT))
    assert (rule, reason, found) == ("bad names", "malware", told)
