"""The proxy between a harness and its endpoint: every request seen, answered from the store or asked."""
