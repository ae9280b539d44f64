"""Benchmark data: what a folder of it says of itself, what a task finds, and what a hub has."""
