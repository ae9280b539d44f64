"""What stands between a harness and an endpoint, measured side by side: ours, its peers, the bare stack."""
