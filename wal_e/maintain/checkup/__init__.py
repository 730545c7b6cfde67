"""What archiving needs, tried out one by one: the network, the store, PostgreSQL, and a segment's way."""
