"""The shortest wire for tests: left --veth-- [inside gateway outside] --veth-- right, each in a namespace of its own.

The hosts have no address and run no IPv6: what crosses is what the test sends. Names begin with cww-; leftovers of a
test run that was killed are removed by the next one.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import own_namespaces
from patience import HUNG_S

from clearway.lab.namespace import End, Namespace, wire
from clearway.lab.numbered import Address

PREFIX = "cww"
LEFT = Address("02:c1:ea:00:00:01", "192.0.2.1", "2001:db8:1::1")
RIGHT = Address("02:c1:ea:00:00:02", "198.51.100.1", "2001:db8:64::1")


@dataclass(frozen=True)
class ShortWire:
    left: End
    right: End
    inside: End
    outside: End

    @property
    def gateway(self) -> Namespace:
        return self.inside.namespace


def sweep_leftovers() -> None:
    """Removes namespaces of test processes that are gone."""
    own_namespaces.sweep(PREFIX)


def namespaces(*names: str) -> contextlib.AbstractContextManager[list[Namespace]]:
    """Fresh ones, removed at the end whatever happens."""
    return own_namespaces.fresh(PREFIX, *names)


def quiet(namespace: Namespace) -> None:
    """No IPv6 on interfaces made from now on: the hosts send nothing of their own."""
    namespace.sysctl({"ipv6/conf/default/disable_ipv6": "1", "ipv6/conf/all/disable_ipv6": "1"})


@contextlib.contextmanager
def short_wire(**attributes: object) -> Iterator[ShortWire]:
    """`attributes` as `ip link add`, for both veth pairs (mtu=9000)."""
    with namespaces("left", "gateway", "right") as (left, gateway, right):
        quiet(left)
        quiet(right)
        made = ShortWire(End(left, "eth0"), End(right, "eth0"), End(gateway, "inside"), End(gateway, "outside"))
        wire(made.inside, made.left, **attributes)
        wire(made.outside, made.right, **attributes)
        yield made


def set_port(end: End, setting: str, value: int) -> None:
    """Writes /sys/class/net/PORT/SETTING, which shows only the ports of the namespace that sysfs was mounted in."""
    words = f"mount -t sysfs sysfs /sys && echo {value} > /sys/class/net/{end.interface}/{setting}"
    command = end.namespace.command(["unshare", "--mount", "sh", "-c", words])
    subprocess.run(command, check=True, timeout=HUNG_S)


def bridge(namespace: Namespace, *ports: str) -> None:
    """Joins ports by a kernel bridge that says nothing of its own."""
    with namespace.links() as links:
        links.link("add", ifname="bridge", kind="bridge", br_stp_state=0, br_mcast_snooping=0)
        index = links.link_lookup(ifname="bridge")[0]
        for port in ports:
            links.link("set", index=links.link_lookup(ifname=port)[0], master=index)
        links.link("set", index=index, state="up")
