"""Settings for all tests."""

from hypothesis import settings

# the machines that run this are shared: how long one example takes says nothing
settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")
