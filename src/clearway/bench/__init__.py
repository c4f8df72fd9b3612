"""What the figures in the documentation come from: Clearway and its peers, measured in one run on one machine.

Read in this order: plan.py (how much is measured), figures.py (what), turns.py (how kinds take turns), peers.py (the
wires that are compared), report.py (what is said of it). Namespaces begin with `cwb-` and the process's id.
"""
