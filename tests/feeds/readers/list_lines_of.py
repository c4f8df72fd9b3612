"""What a list gave, as lines: how expectations are written down in samples/*/expected.txt."""

from clearway.cli.feed_parse import values_of
from clearway.feeds.readers.content import Content


def lines_of(content: Content) -> list[str]:
    """`name bad.example exact`, `address 192.0.2.1`, `… exception`, then `line 7 malformed G9.label`."""
    made = []
    for entries, exception in ((content.blocked, ""), (content.excepted, " exception")):
        for kind, scope, values in values_of(entries):
            made += [" ".join([kind, value, *([scope] if scope else [])]) + exception for value in values]
    return made + [f"line {reject.line} {reject.rule.kind} {reject.rule.id}" for reject in content.rejects]
