"""A small internet in network namespaces of this machine, and the tools that send traffic through it.

Nothing here is imported by the gateway: the lab stands outside it and looks at it as any user would.
"""
