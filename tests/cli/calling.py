"""What a command line came to, for tests."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Told:
    """Exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which is one document and nothing else."""
        return json.loads(self.out)


Call = Callable[..., Told]
