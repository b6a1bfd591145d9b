"""Settings for all tests."""

import pytest
import torch
from hypothesis import settings

# the machines that run this are shared: how long one example takes says nothing
settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")


@pytest.fixture(autouse=True)
def subnormal_numbers():
    """Workers flush subnormal numbers to 0, and so do some libraries once they are imported."""
    torch.set_flush_denormal(False)
