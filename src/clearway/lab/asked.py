"""A name that somebody in the lab asks for: what must come of it, what did, and how the demo shows that.

Only values and how they are drawn; demo_names.py asks.
"""

from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from clearway._engine import DropReason
from clearway.policy.model import word

REFUSED_NAME = word(DropReason.REFUSED_NAME)
LANE_STYLES = {"green": "bold green", "inspected": "cyan", "bare": "bright_black"}


@dataclass
class Asked:
    """One question of one host. `must_say`: what the user has to be told, word for word, where it is refused."""

    source: str
    asks: str  # as it would be typed
    lane: str  # expected
    refused: bool = False
    must_say: tuple[str, ...] = ()
    note: str = ""
    # what was seen
    done: bool = False
    reached: bool = False
    seen_lane: str = ""
    seen_refused: str = ""
    told: str = ""
    ms: float = 0.0

    @property
    def as_expected(self) -> bool:
        if not self.done or self.reached is self.refused:
            return False
        if self.refused:
            return self.seen_refused == REFUSED_NAME and all(words in self.told for words in self.must_say)
        return self.seen_lane == self.lane

    def draw(self) -> RenderableType:
        """A line of what happened, and what the user has of it below."""
        head = Text(no_wrap=True, overflow="ellipsis")
        head.append(f"  {self.source:9}{self.asks:35}", "" if self.done else "bright_black")
        if not self.done:
            head.append("…", "bright_black")
            return head
        head.append(f"{self.seen_lane:11}", LANE_STYLES.get(self.seen_lane, ""))
        if not self.as_expected:
            head.append("✗ " + ("reached" if self.reached else "refused"), "bold red")
        elif self.reached:
            head.append("● reached", "green")
        else:
            head.append("■ refused", "red")
        head.append(f"{self.ms:>7.1f} ms", "bright_black")
        words = self._words()
        return Group(head, Padding(words, (0, 2, 0, 11))) if words.plain else head

    def _words(self) -> Text:
        if not self.as_expected:
            wanted = ", ".join(self.must_say) or f"the {self.lane} lane"
            seen = self.told or "nothing said"
            return Text(f"expected: {REFUSED_NAME if self.refused else 'reached'}, {wanted}; seen: {seen}", "bold red")
        return Text(" · ".join(filter(None, (self.told, self.note))), "" if self.refused else "bright_black")
