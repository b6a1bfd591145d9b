from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.optim.optimizer import register_optimizer_step_pre_hook

from minaction.data.load import load_dataset
from minaction.errors import InputError
from minaction.models.build import build_model
from minaction.train.evaluate import evaluate
from minaction.train.execution import Execution
from minaction.train.fine_tune import fine_tune
from minaction.train.loop import TrainConfig


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


def tuned(digits, epochs, **options):
    model = build_model("mlp", digits.spec, parameters=3_000)
    config = TrainConfig(batch_size=32, **options)
    return model, fine_tune(model, digits.train, F.cross_entropy, config, epochs=epochs)


def test_it_learns_repeatably_and_counts_its_steps(digits):
    (one, steps), (other, _) = (tuned(digits, 4.5, lr=3e-3) for _ in range(2))
    assert steps == round(4.5 * (len(digits.train) // 32))
    assert not one.training
    assert evaluate(one, digits.validation, F.cross_entropy).accuracy > 0.85
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    different, _ = tuned(digits, 2.5, lr=3e-3, seed=1)
    assert not torch.equal(next(iter(one.parameters())), next(iter(different.parameters())))


def test_the_learning_rate_falls_to_zero(digits):
    rates = []
    watch = register_optimizer_step_pre_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    try:
        _, steps = tuned(digits, 1, lr=1e-3)
    finally:
        watch.remove()
    assert rates == pytest.approx([1e-3 * (1 - i / steps) for i in range(steps)])


def test_gradients_are_clipped(digits):
    """A gradient far below Adam's epsilon moves nothing."""
    model, _ = tuned(digits, 1, lr=1e-3, clip_norm=1e-14)
    fresh = build_model("mlp", digits.spec, parameters=3_000)
    for weight, before in zip(model.parameters(), fresh.parameters(), strict=True):
        torch.testing.assert_close(weight, before, rtol=0, atol=1e-6)


def test_it_trains_in_the_precision_and_layout_asked_for(digits):
    seen = set()

    def loss(logits, y):
        seen.add(logits.dtype)
        return F.cross_entropy(logits.float(), y)

    model = build_model("cnn", digits.spec, parameters=3_000)
    execution = Execution(precision="bfloat16", channels_last=True)
    config = TrainConfig(batch_size=32, lr=3e-3)
    fine_tune(model, digits.train, loss, config, epochs=6, execution=execution)
    assert seen == {torch.bfloat16}
    assert all(p.dtype == torch.float32 and p.is_contiguous() for p in model.parameters())
    assert evaluate(model, digits.validation, F.cross_entropy).accuracy > 0.8


@pytest.mark.parametrize("epochs", [0, -1, float("nan"), float("inf")])
def test_bad_epochs(digits, epochs):
    with pytest.raises(InputError, match="epochs is"):
        tuned(digits, epochs)


def test_a_batch_larger_than_the_split(digits):
    model = build_model("mlp", digits.spec, parameters=3_000)
    config = TrainConfig(batch_size=10**6)
    with pytest.raises(InputError, match="batch"):
        fine_tune(model, digits.train, F.cross_entropy, config, epochs=1)
