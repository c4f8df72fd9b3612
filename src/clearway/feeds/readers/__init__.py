"""Readers of lists: bytes → entries, and every line that gave none with the rule why. table.py is the one table."""
