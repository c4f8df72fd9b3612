"""Clearway: an inline kernel firewall gateway."""
