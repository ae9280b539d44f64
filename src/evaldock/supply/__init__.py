"""Images: build, lock, store, load."""
