"""The store of exchanges: what was asked and answered, on disk, checksummed, append-only."""
