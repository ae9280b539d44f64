"""Runs the command of a vendor's wheel, and reads what the wheel makes of its results."""
