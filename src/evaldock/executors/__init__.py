"""Executors carry out a plan."""
