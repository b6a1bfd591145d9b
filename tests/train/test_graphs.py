"""Functions captured in CUDA graphs."""

from __future__ import annotations

import pytest
import torch

from minaction.train.graphs import Graphed

pytestmark = pytest.mark.gpu


def test_a_graph_computes_what_the_function_computes_and_changes_the_state_as_often(gpu):
    state = torch.zeros(3, device=gpu)

    def function(x):
        state.add_(x)
        return (state * 2,)

    x = torch.tensor([1.0, 2.0, 3.0], device=gpu)
    graphed = Graphed(function, (x,), [state])
    assert graphed.is_captured
    assert torch.equal(state, torch.zeros_like(state))  # as before the capture
    for times in (1, 2, 3):
        (found,) = graphed(x)
        assert torch.equal(found, 2 * times * x)
    (found,) = graphed(10 * x)
    assert torch.equal(found, 26 * x)


def test_what_cannot_be_captured_is_called_as_it_is(gpu):
    def function(x):
        return (x * x.sum().item(),)  # asks for a value

    x = torch.arange(3.0, device=gpu)
    graphed = Graphed(function, (x,), [])
    assert not graphed.is_captured
    assert torch.equal(graphed(x + 1)[0], (x + 1) * 6)
    again = Graphed(lambda x: (2 * x,), (x,), [])  # a capture that failed leaves nothing behind
    assert again.is_captured
    assert torch.equal(again(x)[0], 2 * x)
    assert torch.randn(4, device=gpu).isfinite().all()
