"""The processes that do the heavy half of lists, as seen from the daemon's loop: base_worker.py says what they do.

One compiles. Up to FETCHERS fetch, read and judge beside each other, so that a source that drips holds up no other;
those that nobody waits for are ended, but for one.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from clearway.errors import ClearwayError

FETCHERS = 4
"""Lists that are fetched at the same time."""
_LINE_BYTES_MAX = 16 << 20


class BaseWorker:
    """The worker process as seen from the daemon's loop: started when it is needed, and again after it has died."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def ask(self, what: str, **values: Any) -> dict[str, Any]:
        """One request. ClearwayError of the worker, or gateway.E017 when it ends meanwhile."""
        async with self._turn:
            process = await self._running()
            assert process.stdin is not None and process.stdout is not None
            try:
                process.stdin.write(json.dumps({"ask": what, **values}).encode() + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readline()
            except OSError:
                line = b""
            except ValueError:  # a line longer than any answer: it lives, and would be waited for without end
                line = b""
                process.kill()
            if not line:
                self._process = None
                code = await process.wait()
                raise ClearwayError.of("gateway.E017", why=f"signal {-code}" if code < 0 else f"exit code {code}")
        document: dict[str, Any] = json.loads(line)
        if "error" in document:
            raise ClearwayError.from_json(document)
        return document

    async def close(self) -> None:
        """Ends the process, whatever it is doing."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._process = None

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "clearway.gateway.base_worker",
                str(self._state),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LINE_BYTES_MAX,
            )
        return self._process


class BaseWorkers:
    """All of them behind one question."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._compiler = BaseWorker(state)
        self._idle: list[BaseWorker] = []
        self._busy: set[BaseWorker] = set()
        self._room = asyncio.Semaphore(FETCHERS)
        self._waiting = 0

    async def ask(self, what: str, **values: Any) -> dict[str, Any]:
        """One request. ClearwayError of the worker, or gateway.E017 when it ends meanwhile."""
        if not what.startswith("prepare"):
            return await self._compiler.ask(what, **values)
        self._waiting += 1
        try:
            await self._room.acquire()
        finally:
            self._waiting -= 1
        worker = self._idle.pop() if self._idle else BaseWorker(self._state)
        self._busy.add(worker)
        whole = False
        try:
            answer = await worker.ask(what, **values)
            whole = True
            return answer
        except ClearwayError:
            whole = True
            raise
        finally:
            self._busy.discard(worker)
            self._room.release()
            if not whole or (self._idle and not self._waiting):
                await worker.close()  # broken off, its answer would be taken for that of the next question
            else:
                self._idle.append(worker)

    async def warm(self) -> None:
        """Both kinds get ready while nobody waits for them; the first fetcher stays for the first list."""
        await self._compiler.ask("warm")
        fetcher = BaseWorker(self._state)
        self._busy.add(fetcher)
        try:
            await fetcher.ask("warm")
            self._idle.append(fetcher)
        finally:
            self._busy.discard(fetcher)

    async def close(self) -> None:
        """Ends all, whatever they are doing."""
        for worker in (self._compiler, *self._idle, *self._busy):
            await worker.close()
