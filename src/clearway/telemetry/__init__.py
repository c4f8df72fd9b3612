"""What becomes of drop events: who was hit by which rule, and one line of EVE JSON each. Never in the packet's way."""
