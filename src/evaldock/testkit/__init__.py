"""Fakes for the two seams, for tests of evaldock and of its users."""
