"""Sources that no packet from the internet may have, with the document that says so. Data only.

Used by the spoof guard where --drop-bogons asks for it, on what comes from outside. LINK is judged by no rule of the
guard: hosts speak so before they have an address, and no router passes it on.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from clearway.policy.model import Prefix


def _prefixes(rows: dict[str, str]) -> Mapping[Prefix, str]:
    return MappingProxyType({Prefix.parse(text): document for text, document in rows.items()})


BOGONS = _prefixes(
    {
        "0.0.0.0/8": "RFC 791, this network",
        "10.0.0.0/8": "RFC 1918, private",
        "100.64.0.0/10": "RFC 6598, shared between carrier and customer",
        "127.0.0.0/8": "RFC 1122, loopback",
        "172.16.0.0/12": "RFC 1918, private",
        "192.0.0.0/24": "RFC 6890, protocol assignments",
        "192.0.2.0/24": "RFC 5737, documentation",
        "192.168.0.0/16": "RFC 1918, private",
        "198.18.0.0/15": "RFC 2544, benchmarks",
        "198.51.100.0/24": "RFC 5737, documentation",
        "203.0.113.0/24": "RFC 5737, documentation",
        "224.0.0.0/4": "RFC 1112, multicast: never a source",
        "240.0.0.0/4": "RFC 1112, reserved; broadcast",
        "::/8": "RFC 4291, reserved; loopback",
        "100::/64": "RFC 6666, discard",
        "2001:db8::/32": "RFC 3849, documentation",
        "3fff::/20": "RFC 9637, documentation",
        "5f00::/16": "RFC 9602, segment routing identifiers",
        "fc00::/7": "RFC 4193, private",
        "fec0::/10": "RFC 3879, site-local, deprecated",
        "ff00::/8": "RFC 4291, multicast: never a source",
    }
)

LINK = _prefixes(
    {
        "0.0.0.0": "RFC 2131, a host that has no address yet",
        "169.254.0.0/16": "RFC 3927, link-local",
        "::": "RFC 4291, unspecified: duplicate address detection",
        "fe80::/10": "RFC 4291, link-local",
    }
)
