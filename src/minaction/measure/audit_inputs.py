"""Random inputs for models that no data set is at hand for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from minaction.errors import InputError

Dtype = Literal["float16", "bfloat16", "float32", "float64", "int32", "int64"]


def random_batches(
    shape: Sequence[int],
    *,
    batch: int,
    batches: int = 1,
    dtype: Dtype = "float32",
    high: int | None = None,
    seed: int = 0,
) -> Iterator[Tensor]:
    """Return batches of standard normal numbers, or of uniform integers in `[0, high)`.

    Args:
        shape: Shape of one sample.
        batch: Samples in a batch.
        batches: Number of batches.
        dtype: Name of a torch dtype.
        high: For integers, what they are below; e.g. the size of a vocabulary.
        seed: Seed of a generator of its own.

    Raises:
        InputError: A size or `high` does not make sense, or is too large.
    """
    if min([*shape, batch, batches], default=0) < 1:
        raise InputError(f"shape is {list(shape)}, expected positive sizes of one sample")
    integer = dtype.startswith("int")
    if integer and (high is None or high < 1):
        raise InputError(f"{dtype} inputs need high, the number they are below")
    if not integer and high is not None:
        raise InputError(f"high is for integers; leave it out, or give dtype int64 (is {dtype})")
    return _batches((batch, *shape), batches, getattr(torch, dtype), high, seed)


def _batches(
    shape: tuple[int, ...], batches: int, dtype: torch.dtype, high: int | None, seed: int
) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(batches):
        try:
            if high is None:
                values = torch.randn(shape, generator=generator).to(dtype)
            else:
                values = torch.randint(high, shape, generator=generator, dtype=dtype)
        except (RuntimeError, ValueError, MemoryError) as error:
            raise InputError(
                f"random inputs of shape {list(shape)} cannot be made "
                f"({str(error).splitlines()[0]}); give smaller sizes, or a smaller high"
            ) from error
        yield values
