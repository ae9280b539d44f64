"""How an endpoint is asked: pool, timeouts, retries, limits, replicas."""
