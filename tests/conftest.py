"""Settings of every test."""

from hypothesis import settings

# A loaded machine is slow, not wrong.
settings.register_profile("evaldock", deadline=None)
settings.load_profile("evaldock")
