from __future__ import annotations

import math

import torch
from torch import nn

from minaction.data.dataset import DataSpec
from minaction.energy.gauge import gauge_fix
from minaction.models.transformer import FAR, HEADS, Attention, EncoderBlock, sized_transformer


def spec_of(*shape):
    return DataSpec(
        name="made", modality="speech", shape=shape, classes=3, class_names=("a", "b", "c")
    )


def naive_attention(layer, z, mask):
    width = z.shape[2]
    size = width // layer.heads
    projected = z @ layer.inward.weight.T + layer.inward.bias
    out = []
    for head in range(layer.heads):
        q, k, v = (
            projected[:, :, part * width + head * size : part * width + (head + 1) * size]
            for part in range(3)
        )
        scores = q @ k.transpose(1, 2) / math.sqrt(size)
        if mask is not None:
            scores = scores + mask[:, 0]
        out.append(scores.softmax(2) @ v)
    return torch.cat(out, 2) @ layer.outward.weight.T + layer.outward.bias


def test_attention_is_what_it_says():
    layer, z = Attention(8, 2).double(), torch.randn(3, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(layer(z, None), naive_attention(layer, z, None))
    mask = torch.zeros(3, 1, 1, 5, dtype=torch.float64)
    mask[..., 3:] = FAR
    masked = layer(z, mask)
    torch.testing.assert_close(masked, naive_attention(layer, z, mask))
    torch.testing.assert_close(masked[:, :3], layer(z[:, :3], None))


def test_block_is_what_it_says():
    block, z = EncoderBlock(8, 6, 2).double(), torch.randn(3, 5, 8, dtype=torch.float64)
    middle = z + naive_attention(block.attention, block.norm1(z), None)
    inner = (block.norm2(middle) @ block.expand.weight.T + block.expand.bias).clamp(min=0)
    expected = middle + inner @ block.contract.weight.T + block.contract.bias
    torch.testing.assert_close(block(z, None), expected)


def test_order_counts():
    model, x = sized_transformer(spec_of(6, 4), 10_000)().eval(), torch.randn(2, 6, 4)
    assert not torch.allclose(model(x), model(x.flip(1)))
    with torch.no_grad():
        model.positions.zero_()
    torch.testing.assert_close(model(x), model(x.flip(1)), rtol=1e-4, atol=1e-5)


def test_feed_forward_units_can_be_rescaled():
    model = sized_transformer(spec_of(6, 4), 10_000)().eval()
    report = gauge_fix(model, torch.randn(8, 6, 4))
    assert report.not_covered == {}
    assert report.max_output_difference < 1e-4


def test_proportions():
    plain, narrow = sized_transformer(spec_of(9, 5), 40_000)(), None
    width, hidden = plain.project.out_features, plain.blocks[0].expand.out_features
    assert width % HEADS == 0
    assert 1.5 * width < hidden < 2.5 * width
    narrow = sized_transformer(spec_of(9, 5), 40_000, 0.5)()
    assert narrow.blocks[0].expand.out_features == narrow.project.out_features // 2


def test_starts_with_moderate_activations_and_logits():
    torch.manual_seed(0)
    model = sized_transformer(spec_of(30, 8), 40_000)()
    logits = model(torch.randn(64, 30, 8))
    assert 0.05 < logits.std() < 3
    assert all(isinstance(block.norm1, nn.LayerNorm) for block in model.blocks)
