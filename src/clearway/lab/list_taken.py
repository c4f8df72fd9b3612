"""A list that the gateway of the lab fetched: what must come of it, what did, and how the demo shows that."""

from dataclasses import dataclass, field

from rich.console import RenderableType
from rich.text import Text


@dataclass
class ListTaken:
    """One list, or one update of it. Shown as a row of a table."""

    name: str
    format: str
    poisoned: str = ""  # what its source has turned into; "": it is as it should be
    # what was seen
    done: bool = False
    format_found: str = ""
    entries: int = 0
    held_back: list[str] = field(default_factory=list)  # what the guard left out, and why
    quarantined_by: str = ""  # the rule
    as_expected: bool = False

    def cells(self) -> tuple[RenderableType, ...]:
        """Name, format, entries in force, outcome, what the guard says."""
        if not self.done:
            return tuple(Text(text, style="bright_black") for text in (self.name, self.format, "…", "…", ""))
        words = self.poisoned or "; ".join(self.held_back)
        if not self.as_expected:
            outcome = Text("✗ not as expected", "bold red")
        elif self.quarantined_by:
            outcome = Text(f"■ quarantined by {self.quarantined_by}", "red")
            words = f"{words}; the version before stands"
        else:
            outcome = Text("● taken", "green")
        return Text(self.name), Text(self.format_found or self.format), Text(f"{self.entries:,}"), outcome, Text(words)
