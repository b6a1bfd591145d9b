"""Measured latency of a network before and after compaction, in PyTorch and in onnxruntime."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from minaction.compaction.batches import samples_in, select
from minaction.compaction.onnx import export, runner
from minaction.energy.tape import run_model
from minaction.errors import CompactionError
from minaction.measure.clock import PairedTimes, one_thread, time_pairs

Runtime = Literal["pytorch", "onnxruntime"]
RUNTIMES: tuple[Runtime, ...] = ("pytorch", "onnxruntime")
BATCHES = (256, 1)


@dataclass(frozen=True, kw_only=True)
class Latency:
    """How long one batch takes, before and after.

    Attributes:
        runtime: What ran the networks, with one thread.
        batch: Samples of a batch.
        times: Medians, and the speed-up with its interval.
    """

    runtime: Runtime
    batch: int
    times: PairedTimes

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {"runtime": self.runtime, "batch": self.batch, **asdict(self.times)}


def measure_latency(
    before: nn.Module,
    after: nn.Module,
    example: Any,
    *,
    batches: Sequence[int] = BATCHES,
    runtimes: Sequence[Runtime] = RUNTIMES,
    pairs: int = 41,
) -> list[Latency]:
    """Time two networks in turns on the CPU, with one thread.

    Args:
        before: The first network, in evaluation mode.
        after: The second one.
        example: Inputs to make batches from; they are repeated where a batch is larger.
        batches: Samples per batch; sizes that a network does not take are left out.
        runtimes: What runs the networks: `"pytorch"` (eager) and `"onnxruntime"`.
        pairs: Pairs of measurements, as for `time_pairs`.

    Raises:
        CompactionError: A network cannot be exported.
        InputError: A package for onnxruntime is not installed.
    """
    found = []
    with tempfile.TemporaryDirectory() as folder, one_thread():
        for runtime in runtimes:
            if runtime == "pytorch":
                runners = _eagerly(before), _eagerly(after)
            else:
                runners = _exported((before, after), example, Path(folder))
            for size in batches:
                batch = select(example, torch.arange(size) % samples_in(example))
                programs = [functools.partial(run, batch) for run in runners]
                if all(map(_works, programs)):
                    times = time_pairs(*programs, pairs=pairs)
                    found.append(Latency(runtime=runtime, batch=size, times=times))
    return found


def _exported(
    models: Sequence[nn.Module], example: Any, folder: Path
) -> tuple[Callable[[Any], Any], ...]:
    try:
        return tuple(
            runner(export(model, example, folder / f"{number}.onnx"))
            for number, model in enumerate(models)
        )
    except CompactionError as error:
        raise CompactionError(
            f"no latency in onnxruntime: {error}; leave it out with --no-latency, or in Python "
            'with runtimes=("pytorch",)'
        ) from error


def _eagerly(model: nn.Module) -> Callable[[Any], Any]:
    def run(batch: Any) -> Any:
        with torch.inference_mode():
            return run_model(model, batch)

    return run


def _works(program: Callable[[], Any]) -> bool:
    try:
        program()
    except Exception:  # whatever it is that a fixed batch size leads to
        return False
    return True
