"""Options that many commands take; each sentence is the one of its setting."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clearway.config import STATE

StateOption = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help=f"State directory (or {STATE.name}; default {STATE.default})."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
UNTIL_HELP = "RFC 3339, or a duration: 30m, 2h, 7d."
SCOPE_HELP = "Of a name: exact (it alone), subtree (with everything below it; the default) or below (without itself)."
REASONS_HELP = "malware, phishing, botnet-c2, exploit, scanner, brute-force, flood or spoofed."
