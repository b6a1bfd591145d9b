"""Measuring the networks that a study trained and kept: seconds and joules beside what is counted.

Machines have slow and fast phases, so all networks are measured in rounds, each in an order of its
own: a phase falls on many networks a little, and a network's median over the rounds has few of it.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minaction.compaction.compact import compact
from minaction.data.dataset import Dataset
from minaction.data.load import load_dataset
from minaction.errors import CompactionError, InputError
from minaction.measure.clock import Timer, cpu_timer_for, one_thread, time_program
from minaction.measure.conditions import ConditionsWatch
from minaction.measure.environment import code_version, cpu_name, versions
from minaction.measure.flops import count_macs
from minaction.measure.joules.find import Found, cpu_joules, gpu_joules
from minaction.measure.joules.in_rounds import RoundMeter
from minaction.measure.joules.reading import Reading
from minaction.study.compact_runs import dataset_of, load_run_model, saved_runs
from minaction.study.journal import Record
from minaction.study.measurements import Measurement, MeasurementFile
from minaction.study.run import MACS_SAMPLES, cross_entropy, train_config
from minaction.train.loop import build_optimizer

REPEATS = 5
"""Measurements of a program in one round, of which the median counts."""

Costs = dict[str, float | None]
"""Quantities or counts by name, per sample; None where one is not known."""

Program = Callable[[], object]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Bench:
    """What networks are measured with: the device they run on, its clock and its meter."""

    device: torch.device
    timer: Timer
    meter: RoundMeter

    def finish(self) -> None:
        """Wait for what the device was given to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Network:
    """A run's network as it was trained and, where it is another one, compacted.

    `models` and `counts` are by stage, `before` and `after`; `x` and `y` are the batch.
    """

    record: Record
    models: dict[str, nn.Module]
    counts: dict[str, Costs]
    units_removed: int | None
    no_compaction: str | None
    x: Tensor
    y: Tensor


def measure_runs(
    directory: str | Path,
    *,
    device: torch.device | str = "cpu",
    rounds: int = 5,
    data_dir: str | None = None,
    find: Callable[[torch.device], Found] | None = None,
    note: Callable[[str], object] = lambda text: None,
) -> list[Measurement]:
    """Measure the saved networks of all runs of a study that ended well, also compacted.

    Each network is measured as it was trained and, where units can be removed without changing its
    function, compacted: seconds of inference (the study's batch size, and one sample alone) and of
    a training step (forward, backward, Adam; without energy), in float32 as PyTorch runs it by
    itself. On a CPU seconds are CPU time of one thread, in which waiting for a core that others use
    does not count; on a GPU they are those of CUDA events. Joules of inference are read where there
    is a meter. What is measured is appended to `measurements.jsonl`; a second call does the rest.

    Args:
        directory: The study's directory.
        device: Where the networks run.
        rounds: How often each is measured.
        data_dir: Where data sets are looked for first.
        find: Which meter to read on a device; default: the GPU's, or that of the CPU packages.
        note: Is told how far it is.

    Returns:
        What was measured now.

    Raises:
        StudyDirectoryError: It is no study, it is in use, or a run's weights were not saved.
        DeviceError: How long something takes on the device is not known.
        InputError: It was measured elsewhere before, the data is not what it was trained on, or
            `rounds` is below 1.
        JournalError: The journal or the measurements cannot be read.
        StorageError: The disk refuses.

    Example:
        >>> measure_runs("results/proxy", rounds=5)
    """
    if rounds < 1:
        raise InputError(f"rounds is {rounds}; expected 1 or more")
    where, records = torch.device(device), saved_runs(directory, ())
    timer = cpu_timer_for(where)
    measured: list[Measurement] = []
    with one_thread(), _no_denormals(), MeasurementFile(directory, setting_of(where)) as file:
        done = {(found.run_id, found.round) for found in file.found}
        visits = list(_visits([record.run_id for record in records], rounds, done))
        wanted = {run_id for run_id, _ in visits}
        left = [record for record in records if record.run_id in wanted]
        networks = _prepared(Path(directory), left, data_dir, where, note)
        if visits:
            meter = RoundMeter.rested((find or meter_of)(where))
            bench = _Bench(device=where, timer=timer, meter=meter)
            for run_id, turn in visits:
                measured.append(_measured(networks[run_id], turn, bench))
                file.append(measured[-1])
                note(f"measured {len(measured):,} of {len(visits):,} times")
    return measured


def setting_of(device: torch.device) -> dict[str, Any]:
    """Return what decides the quantities and must be one in all measurements of a study."""
    on_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else cpu_name(),
        "seconds": "CUDA events" if on_gpu else "CPU time of one thread",
        "torch": versions()["torch"],
    }


def meter_of(device: torch.device) -> Found:
    """Return the meter of what does the work on a device, or why there is none."""
    if device.type == "cuda":
        return gpu_joules(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    return cpu_joules()


@contextlib.contextmanager
def _no_denormals() -> Iterator[None]:
    """Flush denormal numbers to 0, as the workers that trained the networks do."""
    smallest = torch.tensor(torch.finfo(torch.float64).smallest_normal, dtype=torch.float64)
    flushed = (smallest / 2).item() == 0  # torch does not tell
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)


def _visits(
    run_ids: Sequence[str], rounds: int, done: set[tuple[str, int]]
) -> Iterator[tuple[str, int]]:
    """Yield network and round for all that is not done, each round in an order of its own."""
    for turn in range(rounds):
        for place in np.random.default_rng(turn).permutation(len(run_ids)):
            run_id = run_ids[int(place)]
            if (run_id, turn) not in done:
                yield run_id, turn


def _prepared(
    directory: Path,
    records: Sequence[Record],
    data_dir: str | None,
    device: torch.device,
    note: Callable[[str], object],
) -> dict[str, _Network]:
    load = functools.cache(lambda name: load_dataset(name, data_dir))
    networks = {}
    for number, record in enumerate(records, start=1):
        dataset = dataset_of(record, load)
        model = load_run_model(directory, record, dataset)
        networks[record.run_id] = _network(record, model, dataset, device)
        note(f"compacted {number:,} of {len(records):,} networks")
    return networks


def _network(record: Record, model: nn.Module, dataset: Dataset, device: torch.device) -> _Network:
    models, removed, reason = {"before": model}, None, None
    try:
        compaction = compact(model, dataset.train.x)
        removed = len(compaction.removed)
        if removed:
            models["after"] = compaction.model
    except CompactionError as error:
        reason = str(error)
    samples = dataset.test.x[:MACS_SAMPLES]  # those that the journal's counts are of
    batch_size = record.config["batch_size"]
    rows = torch.arange(batch_size) % len(dataset.train)
    return _Network(
        record=record,
        counts={stage: _counts(model, samples, batch_size) for stage, model in models.items()},
        models={stage: model.to(device) for stage, model in models.items()},
        units_removed=removed,
        no_compaction=reason,
        x=dataset.train.x[rows].to(device),
        y=dataset.train.y[rows].to(device),
    )


def _counts(model: nn.Module, samples: Tensor, batch_size: int) -> Costs:
    count = count_macs(model, samples, training=False)
    macs, acs = count.macs_effective, count.acs_effective
    found: Costs = {
        "macs_dense": count.macs_dense,
        "macs_effective": macs,
        "operations_effective": None if macs is None or acs is None else macs + acs,
        # weights are read once a batch, and it is batches of this size that are timed
        "bytes_moved": count.weight_bytes / batch_size + count.activation_bytes,
    }
    if count.uncounted:  # the totals are lower bounds
        found = dict.fromkeys(found)
    return {**found, "parameters": count.parameters}


def _measured(network: _Network, turn: int, bench: _Bench) -> Measurement:
    watch, began, own = ConditionsWatch(bench.device), time.perf_counter(), time.process_time()
    found: dict[str, Costs] = {}
    readings: dict[str, Reading] = {}
    for stage, model in network.models.items():
        quantities, readings[stage] = _quantities(model, network, bench)
        found[stage] = {**quantities, **network.counts[stage]}
    took = time.perf_counter() - began
    share = (time.process_time() - own) / took
    return Measurement(
        run_id=network.record.run_id,
        round=turn,
        before=found["before"],
        after=found.get("after"),
        units_removed=network.units_removed,
        no_compaction=network.no_compaction,
        no_joules=next((r.reason for r in readings.values() if r.reason), None),
        setting=setting_of(bench.device),
        conditions={**watch.close(took).to_dict(), "cpu_share": share},
        provenance={
            "versions": versions(),
            "code_version": code_version(),
            "batch_size": len(network.x),
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "joules": {
                stage: reading.to_dict() for stage, reading in readings.items() if reading.value
            },
        },
    )


def _quantities(model: nn.Module, network: _Network, bench: _Bench) -> tuple[Costs, Reading]:
    """Return the quantities per sample, and the meter's reading of a batch."""
    x, y = network.x, network.y

    def seconds(program: Program, samples: int) -> float:
        times = time_program(program, measurements=REPEATS, warm_up=2, timer=bench.timer)
        return times.seconds / samples

    infer = functools.partial(_infer, model, x)
    found: Costs = {
        "inference_seconds": seconds(infer, len(x)),
        "single_seconds": seconds(functools.partial(_infer, model, x[:1]), 1),
        "training_seconds": seconds(_training_step(model, network.record, x, y), len(x)),
    }
    reading = bench.meter.per_call(
        infer, len(x) * (found["inference_seconds"] or 0.0), finish=bench.finish
    )
    found["inference_joules"] = None if reading.value is None else reading.value / len(x)
    return found, reading


def _infer(model: nn.Module, x: Tensor) -> object:
    with torch.inference_mode():
        return model(x)


def _training_step(model: nn.Module, record: Record, x: Tensor, y: Tensor) -> Program:
    trained = deepcopy(model).train()
    optimizer = build_optimizer(trained, train_config(record.config))  # pyright: ignore[reportArgumentType]
    for group in optimizer.param_groups:
        group["lr"] = 0.0  # all of the work, and the network stays what it is

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(trained(x), y).backward()
        optimizer.step()

    return step
