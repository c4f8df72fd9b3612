"""The process that keeps a lab: runs its servers, and takes it down at its deadline. Started by `Lab.up`.

It stays in the namespace it was born in, and serves from there (servers.py).
It ends when the lab's record no longer names it. Says "ready" on standard output once every server listens.
"""

import asyncio
import os
import signal
import sys

from clearway.lab import servers
from clearway.lab.topology import EVERYBODY, Lab, boot_clock_s

LOOK_EVERY_S = 0.5


async def keep(lab: Lab) -> None:
    """Serves until the deadline, until the record names another, or until SIGTERM."""
    sys.stdin.read()  # ends when the record names this process
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    tls = servers.certificate(f"{lab.name}.example")
    serving = [server for host in EVERYBODY for server in await servers.serve(lab, host, tls)]
    children = [servers.serve_iperf3(lab, host) for host in EVERYBODY if "iperf3" in host.serves]
    print("ready", flush=True)
    try:
        while not ended.is_set():
            record = lab.read_record()
            if not record or record.keeper_pid != os.getpid():
                break
            if record.until_boot_s < boot_clock_s():
                await asyncio.to_thread(lab.down)
                break
            try:
                await asyncio.wait_for(ended.wait(), LOOK_EVERY_S)
            except TimeoutError:
                continue
    finally:
        for child in children:
            if child:
                child.kill()
                child.wait()
        for server in serving:
            server.close()


if __name__ == "__main__":
    asyncio.run(keep(Lab(sys.argv[1])))
