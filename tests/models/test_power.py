from __future__ import annotations

import pytest
import torch

from minaction.models.power import unit_power


@pytest.mark.parametrize("shape", [(4, 7), (4, 3, 5), (4, 2, 3, 3)])
@pytest.mark.parametrize("scale", [0.1, 1.0, 100.0])
def test_every_sample_has_a_mean_square_of_one_whatever_its_scale(shape, scale):
    scaled = unit_power(scale * torch.randn(shape))
    torch.testing.assert_close(scaled.square().flatten(1).mean(1), torch.ones(4), rtol=1e-3, atol=0)


def test_no_activity_stays_none_and_passes_a_finite_gradient():
    x = torch.zeros(2, 3, requires_grad=True)
    unit_power(x).sum().backward()
    assert torch.equal(unit_power(x), torch.zeros(2, 3))
    assert x.grad is not None
    assert x.grad.isfinite().all()
