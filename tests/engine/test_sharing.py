"""The maps are shared: between threads, so that a grant never waits; with a process that has no capability."""

import json
import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from bases import base, mapped
from loaded_gateway import ROOM, Gateway, load

from clearway import _engine as engine

pytestmark = pytest.mark.kernel

EVER = (1 << 64) - 1


def test_a_grant_waits_for_no_fill_flip_or_comparison() -> None:
    wide = base("10.0.0.0/8", *(f"11.0.{n}.0/25" for n in range(256)))
    gateway = load(engine.Loader(None), engine.Capacity(1 << 17, 4, 16))
    tables = gateway.tables
    overlay = [(struct.pack("!QQ", 0x2001 << 48, n), 128, EVER, 0) for n in range(50_000)]
    tables.reconcile(overlay, [])
    ended = threading.Event()
    turns: list[float] = []

    def work() -> None:
        while not ended.is_set():
            begun = time.perf_counter()
            tables.fill(wide)
            tables.flip()
            tables.compare_base(wide)
            tables.compare_overlay()
            turns.append(time.perf_counter() - begun)

    thread = threading.Thread(target=work)
    thread.start()
    waits: list[float] = []
    try:
        while len(turns) < 3 or len(waits) < 200:
            begun = time.perf_counter()
            tables.put_green(*mapped(f"192.0.2.{len(waits) % 256}/32"), EVER)
            waits.append(time.perf_counter() - begun)
            time.sleep(0.001)
    finally:
        ended.set()
        thread.join()
    waits.sort()
    # Who waited for each of the four would take a quarter of their time; the speed itself stands in `clearway bench`
    assert waits[len(waits) // 2] < sorted(turns)[len(turns) // 2] / 10
    found = tables.compare_overlay()
    assert (found.missing, found.foreign, found.wrong) == (0, 0, 0)


def test_a_comparison_while_entries_change_finds_nothing_wrong(gateway: Gateway) -> None:
    ended = threading.Event()

    def change() -> None:
        n = 0
        while not ended.is_set():
            n = (n + 1) % 4000
            prefix = mapped(f"10.{n >> 8}.{n & 255}.0/{24 + n % 9}")
            (gateway.tables.put_overlay if n % 3 else gateway.tables.remove_overlay)(
                *prefix, *((EVER, 0) if n % 3 else ())
            )
            (gateway.tables.put_green if n % 2 else gateway.tables.remove_green)(*prefix, *((EVER,) if n % 2 else ()))

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(50):
            found = gateway.tables.compare_overlay()
            assert (found.missing, found.foreign, found.wrong) == (0, 0, 0), found.examples
    finally:
        ended.set()
        thread.join()


WITHOUT_RIGHTS = """
import json, os, sys
from pathlib import Path
fds = json.loads(sys.argv[1])
from clearway import _engine as engine
sys.path.insert(0, sys.argv[2])
from bases import base, mapped
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
status = Path("/proc/thread-self/status").read_text().splitlines()
held = [line.split()[1] for line in status if line.startswith("CapEff")]
assert held == ["0" * 16], held
tables = engine.Tables(fds, engine.Capacity(*json.loads(sys.argv[3])))
wanted = base("192.0.2.0/24", "2001:db8::/32")
tables.fill(wanted)
epoch = tables.flip()
tables.put_overlay(*mapped("198.51.100.7/32"), 1 << 63, 0)
tables.put_green(*mapped("10.0.0.0/8"), 1 << 63)
tables.compare_overlay(), tables.compare_base(wanted), tables.counters(), tables.facts(), tables.observed()
tables.memory_bytes(), tables.sweep_fragments(0), tables.beat(1), engine.Events(fds["events"]).poll(0)
sys.stdout.write(f"{epoch}")
"""


def test_tables_and_events_need_no_capability(gateway: Gateway) -> None:
    if os.getuid():
        pytest.skip("not root: there are no rights to give up")
    fds = gateway.loader.map_fds()
    room = json.dumps([ROOM.bitmaps, ROOM.v6_buckets, ROOM.v6_slots])
    arguments = [json.dumps(fds), str(Path(__file__).parent), room]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_RIGHTS, *arguments], pass_fds=fds.values(), capture_output=True, check=False
    )
    assert (done.stdout, done.stderr) == (b"1", b"")
    assert gateway.tables.epoch == 1
