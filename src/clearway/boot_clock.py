"""The clock that is never set: time since this start of the machine, and which start that is.

`CLOCK_BOOTTIME`, clock_gettime(2), which also counts while the machine sleeps; random/boot_id, random(4).
"""

import time
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_ns() -> int:
    """Nanoseconds since the machine started."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Of this start of the machine: what was counted in another one cannot be compared."""
    return _BOOT_ID.read_text().strip()
