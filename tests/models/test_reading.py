from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from minaction.data.dataset import DataSpec
from minaction.errors import ModelError
from minaction.models.reading import (
    MAX_EMBEDDING,
    MAX_STEPS,
    BagOfEmbeddings,
    Channels,
    Steps,
    embedding_width,
    layout_of,
    pooled_size,
    vector_reader,
)


def spec_of(*shape, vocabulary=None):
    return DataSpec(
        name="made",
        modality="text",
        shape=shape,
        classes=2,
        class_names=("a", "b"),
        vocabulary=vocabulary,
    )


def tokens(*rows):
    return torch.tensor(rows)


def read(reader, *shape):
    return reader(torch.randn(3, *shape))


@pytest.mark.parametrize(
    ("spec", "layout"),
    [
        (spec_of(9), "vector"),
        (spec_of(9, vocabulary=50), "tokens"),
        (spec_of(9, 2), "sequence"),
        (spec_of(1, 9, 8), "image"),
        (spec_of(5, 2, 9, 8), "frames"),
    ],
)
def test_layouts(spec, layout):
    assert layout_of(spec) == layout
    assert Steps(spec, 10_000).layout == layout


def test_shapes_of_no_layout_are_refused():
    with pytest.raises(ModelError, match=r"none of \(F,\)"):
        layout_of(spec_of(1, 2, 3, 4, 5))


def test_embeddings_take_three_quarters_of_the_budget():
    assert embedding_width(spec_of(9, vocabulary=1000), 10_000) == 7
    assert embedding_width(spec_of(9, vocabulary=2), 10_000) == MAX_EMBEDDING
    with pytest.raises(ModelError, match="1,000 tokens need a budget of at least 1,334"):
        embedding_width(spec_of(9, vocabulary=1000), 1_000)
    assert embedding_width(spec_of(9, vocabulary=1000), 1_334) == 1
    with pytest.raises(ModelError, match="no vocabulary"):
        embedding_width(spec_of(9), 1_000)


def test_short_sequences_are_read_as_they_are():
    reader, x = Steps(spec_of(50, 3), 10_000), torch.randn(2, 50, 3)
    assert (reader.steps, reader.features) == (50, 3)
    assert torch.equal(reader(x), x)
    assert torch.equal(reader.mean(x, x), x.mean(1))


def test_long_sequences_are_grouped_without_loss():
    reader, x = Steps(spec_of(150, 2), 10_000), torch.randn(4, 150, 2)
    assert (reader.steps, reader.features) == (50, 6)
    assert torch.equal(reader(x).reshape(4, 150, 2), x)
    uneven, y = Steps(spec_of(131, 2), 10_000), torch.randn(4, 131, 2)
    assert (uneven.steps, uneven.features) == (44, 6)
    rows = uneven(y).reshape(4, 132, 2)
    assert torch.equal(rows[:, :131], y)
    assert rows[:, 131].count_nonzero() == 0


@settings(max_examples=30, deadline=None)
@given(length=st.integers(1, 700), channels=st.integers(1, 4))
def test_never_more_than_the_steps_allowed(length, channels):
    reader = Steps(spec_of(length, channels), 10_000)
    assert reader.steps <= MAX_STEPS
    assert read(reader, length, channels).shape == (3, reader.steps, reader.features)


def test_images_are_read_row_by_row():
    reader, x = Steps(spec_of(3, 5, 4), 10_000), torch.randn(2, 3, 5, 4)
    out = reader(x)
    assert out.shape == (2, 5, 12)
    assert torch.equal(out[1, 2], x[1, :, 2].flatten())


def test_vectors_are_shown_twice():
    x = torch.randn(2, 7)
    assert torch.equal(Steps(spec_of(7), 10_000)(x), torch.stack([x, x], 1))


def test_frames_are_pooled_in_space_where_they_are_large():
    reader, x = Steps(spec_of(4, 2, 8, 8), 1_024), torch.randn(3, 4, 2, 8, 8)
    assert reader.features == 32
    naive = torch.stack([F.adaptive_avg_pool2d(frame, 4).flatten(1) for frame in x.unbind(1)], 1)
    torch.testing.assert_close(reader(x), naive)
    small = Steps(spec_of(4, 2, 8, 8), 100_000)
    assert torch.equal(small(x), x.flatten(2))


def test_groups_of_tokens_are_averaged_without_padding():
    reader = Steps(spec_of(128, vocabulary=30), 10_000)
    x = torch.zeros(2, 128, dtype=torch.int64)
    x[0, :3] = tokens(4, 5, 6)
    table = reader.values.weight
    out = reader(x)
    assert out.shape == (2, 64, table.shape[1])
    torch.testing.assert_close(out[0, 0], (table[4] + table[5]) / 2)
    torch.testing.assert_close(out[0, 1], table[6])
    assert out[0, 2:].count_nonzero() == 0
    torch.testing.assert_close(reader.mean(out, x)[0], (out[0, 0] + out[0, 1]) / 2)
    assert reader.real(x).sum(1).tolist() == [2, 0]
    assert torch.equal(reader.mean(out, x)[1], torch.zeros(table.shape[1]))


def test_a_bag_counts_no_padding():
    reader = BagOfEmbeddings(spec_of(4, vocabulary=9), 10_000)
    table = reader.embedding.weight
    out = reader(tokens([3, 3, 8, 0], [0, 0, 0, 0]))
    torch.testing.assert_close(out[0], (2 * table[3] + table[8]) / 3**0.5)
    assert out[1].count_nonzero() == 0


@pytest.mark.parametrize(
    "shape",
    [(5000,), (1, 60, 60), (100, 7), (500, 19), (100, 700), (10, 2, 34, 34), (3, 1, 90, 90)],
)
def test_vectors_have_the_length_promised_and_fit_the_budget(shape):
    reader, length = vector_reader(spec_of(*shape), 30_000)
    assert read(reader, *shape).shape == (3, length)
    if len(shape) in (2, 4):
        assert 30_000 / 60 < length <= 30_000 / 24


def test_long_recordings_are_averaged_over_time():
    reader, length = vector_reader(spec_of(40, 6), 24 * 60)
    x = torch.randn(2, 40, 6)
    assert length == 60
    torch.testing.assert_close(reader(x), x.unflatten(1, (10, 4)).mean(2).flatten(1))


def test_large_frames_are_averaged_over_time_then_space():
    reader, length = vector_reader(spec_of(6, 2, 8, 8), 24 * 32)
    x = torch.randn(2, 6, 2, 8, 8)
    assert length == 32
    torch.testing.assert_close(reader(x), F.adaptive_avg_pool2d(x.mean(1), 4).flatten(1))


def test_channels():
    sequence, frames = torch.randn(2, 9, 3), torch.randn(2, 5, 2, 7, 6)
    assert torch.equal(Channels(spec_of(9, 3), 1000)(sequence), sequence.transpose(1, 2))
    reader = Channels(spec_of(5, 2, 7, 6), 1000)
    assert (reader.channels, reader.positions) == (10, (7, 6))
    assert torch.equal(reader(frames)[:, 3], frames[:, 1, 1])
    assert read(Channels(spec_of(11), 1000), 11).shape == (3, 11, 1)
    text = Channels(spec_of(4, vocabulary=9), 1000)
    x = tokens([3, 1, 0, 0])
    assert torch.equal(text(x)[0, :, 1], text.values.weight[1])
    assert (text.channels, text.positions) == (MAX_EMBEDDING, (4,))


@settings(max_examples=50)
@given(
    channels=st.integers(1, 3),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    limit=st.integers(1, 5000),
)
def test_pooled_sizes_fit(channels, size, limit):
    pooled = pooled_size(channels, size, limit)
    assert all(1 <= p <= s for p, s in zip(pooled, size, strict=True))
    assert channels * pooled[0] * pooled[1] <= max(limit, channels * max(pooled))
