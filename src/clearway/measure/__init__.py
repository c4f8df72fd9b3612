"""What a claim is worth, measured."""
