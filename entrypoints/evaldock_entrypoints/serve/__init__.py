"""Serving backends behind one entrypoint."""
