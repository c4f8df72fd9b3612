"""The gateway daemon: two ports, one loop, and the care that the kernel holds what people decided.

`daemon.run` is the only door in; `client.Gateway` is how other processes talk to a running one; `detach.detach` takes
the gateway off the wire. Nothing here decides about a packet: that is the kernel's work, under bpf/.
"""
