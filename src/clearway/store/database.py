"""Opens the database of a state directory: settings, migrations, and what a person is told when it cannot be used."""

from __future__ import annotations

from pathlib import Path


def setup(state: Path) -> None:
    """Configures Django for the database of that state directory and brings its tables up to date."""
    raise NotImplementedError
