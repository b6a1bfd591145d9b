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


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU"))


@pytest.fixture
def gpu():
    return torch.device("cuda:0")
