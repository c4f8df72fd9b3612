"""What is refused and granted, and what follows for a packet. Pure: bytes, times and randomness are arguments."""
