"""MACs of BERT, GPT-2 and ViT from their configurations, by the published sizes and by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from minaction.measure.flops import count_macs

transformers = pytest.importorskip("transformers")


def encoder(layers, positions, width, hidden):
    """Projections, scores and weighted sums of attention, and two feed-forward layers."""
    attention = 4 * positions * width**2 + 2 * positions**2 * width
    return layers * (attention + 2 * positions * width * hidden)


def on_meta(build, *shape, tokens):
    with torch.device("meta"):
        return build(), torch.zeros(shape, dtype=torch.long if tokens else torch.float32)


def small(kind, **changes):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    if kind == "bert":
        config = transformers.BertConfig(**sizes, intermediate_size=24, vocab_size=50, **changes)
        return transformers.BertModel(config), torch.ones(3, 10, dtype=torch.long)
    if kind == "vit":
        config = transformers.ViTConfig(
            **sizes, intermediate_size=24, image_size=16, patch_size=8, num_labels=3, **changes
        )
        return transformers.ViTForImageClassification(config), torch.rand(2, 3, 16, 16)
    config = transformers.GPT2Config(
        n_embd=16, n_layer=2, n_head=2, vocab_size=50, n_positions=12, bos_token_id=0,
        eos_token_id=0, **changes,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config), torch.ones(3, 10, dtype=torch.long)


def test_bert_base():
    model, x = on_meta(
        lambda: transformers.BertModel(transformers.BertConfig()), 1, 128, tokens=True
    )
    count = count_macs(model, x)
    # the embeddings have weights, so every product needs both of its gradients
    forward = encoder(12, 128, 768, 3072) + 768**2  # and the pooler, of the first position
    assert (count.macs_dense, count.macs_backward) == (forward, 2 * forward)
    assert count.parameters == 109_482_240  # published: 110 million
    assert not count.uncounted
    assert count.cheap["embedding"] == 3 * 128 * 768  # of words, positions and segments


def test_gpt2():
    model, x = on_meta(
        lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config()), 1, 1024, tokens=True
    )
    count = count_macs(model, x)
    forward = encoder(12, 1024, 768, 3072) + 1024 * 768 * 50_257
    assert (count.macs_dense, count.macs_backward) == (forward, 2 * forward)
    assert count.parameters == 124_439_808  # published: 124 million
    assert not count.uncounted


def test_vit_base():
    def build():
        return transformers.ViTForImageClassification(transformers.ViTConfig(num_labels=1000))

    model, x = on_meta(build, 1, 3, 224, 224, tokens=False)
    count = count_macs(model, x)
    patches = 196 * 768 * (3 * 16 * 16)  # the first layer, which needs no gradient of the pixels
    forward = patches + encoder(12, 197, 768, 3072) + 768 * 1000
    assert (count.macs_dense, count.macs_backward) == (forward, 2 * forward - patches)
    assert count.macs_dense / 1e9 == pytest.approx(17.56, abs=0.01)  # published: 17.56 GMACs
    assert count.parameters == 86_567_656  # published: 86.6 million
    assert not count.uncounted


@pytest.mark.parametrize("kind", ["bert", "gpt2", "vit"])
def test_plain_attention_costs_what_fused_attention_does_and_what_torch_executes(kind):
    fused, x = small(kind)
    plain, _ = small(kind, attn_implementation="eager")
    count, same = count_macs(fused, x), count_macs(plain, x)
    assert count.macs_dense == same.macs_dense
    assert count.macs_training == same.macs_training
    plain.train()
    with FlopCounterMode(display=False) as executed:
        output = plain(x)
        forward = executed.get_total_flops()
        gradients = [t for t in output.to_tuple() if isinstance(t, torch.Tensor)]
        torch.autograd.backward([t.sum() for t in gradients])
    assert 2 * len(x) * same.macs_training_forward == forward
    assert 2 * len(x) * same.macs_training == executed.get_total_flops()


LAYER = {"d_model": 8, "nhead": 2, "dim_feedforward": 12, "batch_first": True}


@pytest.mark.parametrize("inference", [True, False])
def test_the_encoder_layer_is_not_lost_on_its_fast_path(inference):
    layer = nn.TransformerEncoderLayer(**LAYER).eval()
    x = torch.randn(3, 5, 8)
    with torch.inference_mode(inference):
        count = count_macs(layer, x, training=not inference)
    forward = encoder(1, 5, 8, 12)
    assert count.macs_dense == forward
    assert not count.uncounted
    if not inference:
        assert count.macs_backward == 2 * forward - 3 * 5 * 8 * 8  # q, k and v read the sample


def test_the_fused_encoder_layer_called_by_name():
    class Fused(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(**LAYER)

        def forward(self, x):
            layer, attention = self.layer, self.layer.self_attn
            return torch._transformer_encoder_layer_fwd(
                x, 8, 2, attention.in_proj_weight, attention.in_proj_bias,
                attention.out_proj.weight, attention.out_proj.bias, False, False, 1e-5,
                layer.norm1.weight, layer.norm1.bias, layer.norm2.weight, layer.norm2.bias,
                layer.linear1.weight, layer.linear1.bias, layer.linear2.weight,
                layer.linear2.bias,
            )  # fmt: skip

    count = count_macs(Fused(), torch.randn(3, 5, 8), training=False)
    assert count.macs_dense == encoder(1, 5, 8, 12)
    assert not count.uncounted


def test_a_stack_with_padding_counts_all_positions():
    stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(**LAYER), 2)
    mask = torch.zeros(3, 5, dtype=torch.bool)
    mask[0, 3:] = True
    inputs = {"src": torch.randn(3, 5, 8), "src_key_padding_mask": mask}
    assert count_macs(stack, inputs).macs_dense == encoder(2, 5, 8, 12)
