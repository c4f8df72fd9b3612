"""Why a line of a list gives no entry: the closed list, each with its class and a sentence.

`malformed`: it is not what its format says; a list of many such lines is none. `unsupported`: it is, and means what is
not enforced, or not by a list. Ids are permanent. Other rules, of lists as a whole, are the guard's.
"""

from __future__ import annotations

from enum import Enum

MALFORMED = "malformed"
UNSUPPORTED = "unsupported"


class Rule(Enum):
    """A rule: its id, the class of the lines that it refuses, and what they are."""

    LONG_LINE = "G2.long-line", MALFORMED, "a line longer than 64 KiB"
    NOT_A_LINE = "G9.syntax", MALFORMED, "no line of this format"
    ADDRESS = (
        "G9.address",
        MALFORMED,
        "an address that is not four plain decimals or RFC 4291, or a length out of range",
    )
    MAPPED = "G9.mapped", MALFORMED, "IPv4 written as IPv6 (::ffff:…), which systems read differently"
    RANGE = "G9.range", MALFORMED, "a range that ends before it begins, or one of too many"
    CHARACTER = "G9.character", MALFORMED, "a name with another character than letters, digits, hyphen, underscore"
    LABEL = "G9.label", MALFORMED, "a label that is empty, longer than 63 bytes, or has a hyphen at its end"
    LENGTH = "G9.length", MALFORMED, "a name longer than 253 bytes"
    SINGLE_LABEL = "G9.single-label", MALFORMED, "a name of one label"
    NUMERIC = "G9.numeric", MALFORMED, "a name whose last label is a number"
    IDN = "G9.idn", MALFORMED, "a name that UTS 46 and IDNA 2008 have no A-label for"
    FIELD = "G9.field", MALFORMED, "a field that is missing, or of another type than the format says"
    URL = "G9.url-with-path", UNSUPPORTED, "a URL: its path cannot be enforced, and its host alone is not meant"
    PATH = "G9.path-only", UNSUPPORTED, "a path without a host"
    PATTERN = "G9.url-pattern", UNSUPPORTED, "a pattern of URLs"
    EXPRESSION = "G9.expression", UNSUPPORTED, "a regular expression"
    WILDCARD = "G9.wildcard", UNSUPPORTED, "an asterisk elsewhere than as the first label"
    ADDRESS_WILDCARD = "G9.wildcard-of-address", UNSUPPORTED, "everything below an address, of which there is nothing"
    SUFFIX = "G9.below-single-label", UNSUPPORTED, "everything below one label"
    EVERYTHING = "G9.everything", UNSUPPORTED, "every name there is"
    MODIFIER = "G9.modifier", UNSUPPORTED, "a modifier that cannot be honoured; without it the rule would mean more"
    COSMETIC = "G9.cosmetic", UNSUPPORTED, "a rule about what stands in a page"
    REDIRECT = "G9.redirect", UNSUPPORTED, "another answer in place of a refusal"
    OPTION = "G9.option", UNSUPPORTED, "an option of a resolver, not a list's entry"
    ELSEWHERE = "G9.include", UNSUPPORTED, "entries that stand in another file"
    TRIGGER = "G9.trigger", UNSUPPORTED, "a policy about clients or name servers"
    OUTSIDE = "G9.out-of-zone", UNSUPPORTED, "a record outside its own zone, which servers leave out"
    SUBSTRING = "G9.substring", UNSUPPORTED, "a piece of a name, in whichever name it stands"
    PORT = "G9.port", UNSUPPORTED, "one port of a name"
    NOT_DETECTION = "G9.to_ids-false", UNSUPPORTED, "an attribute that its author does not want acted on"
    WITHDRAWN = "G9.revoked", UNSUPPORTED, "withdrawn by its author"
    EXPIRED = "G9.expired", UNSUPPORTED, "past the time that its author gave it"
    BENIGN = "G9.benign", UNSUPPORTED, "named by its author as harmless"
    NO_OBSERVABLE = (
        "G9.no-network-observable",
        UNSUPPORTED,
        "neither a name nor an address: a hash, a file, a key, a network's number",
    )
    LANGUAGE = "G9.pattern-type", UNSUPPORTED, "a pattern in another language than STIX"
    CATEGORY = "G9.category", UNSUPPORTED, "of a category that the list's table of reasons does not have, or of none"
    CONJUNCTION = "G9.conjunction", UNSUPPORTED, "a pattern of more than one thing at a time"

    def __init__(self, id: str, kind: str, sentence: str) -> None:
        self.id = id
        self.kind = kind
        self.sentence = sentence


RULES = tuple(Rule)
NUMBERS = {rule: number for number, rule in enumerate(RULES)}
"""By place in RULES: one byte keeps a rule."""
