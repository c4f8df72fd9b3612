"""Lists from elsewhere: fetched, read whole or refused whole, kept as sorted arrays by content hash."""
