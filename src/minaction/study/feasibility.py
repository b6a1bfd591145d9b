"""Whether runs can be made at all, and measured, found out before the first one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from minaction.data.dataset import Dataset, Split
from minaction.errors import InputError
from minaction.measure.flops import count_macs
from minaction.models.build import sized_builder
from minaction.study.calibrate import network_of
from minaction.study.cells import Cell
from minaction.train.evaluate import measure_gauge_fixed
from minaction.train.loop import check_batch_size

Load = Callable[[str], Dataset]

SAMPLES = 2
"""Samples on which it is found out what can be measured of a network."""


def require_feasible(cells: Sequence[Cell], load: Load) -> None:
    """Check that every model fits its data and budget, and every batch its training split.

    Builds no model: networks are sized without memory.

    Args:
        cells: What the study will run.
        load: Gives a data set by name.

    Raises:
        InputError: They do not; the message is about the first that does not, and counts the rest.
        DataFileError: A data set is damaged.
    """
    problems = list(dict.fromkeys(_problems(cells, load)))
    if not problems:
        return
    first, *others = problems
    more = f" (and {len(others)} more problem{'s' if len(others) > 1 else ''})" if others else ""
    raise InputError(first + more)


def infeasibility(cell: Cell, load: Load) -> str | None:
    """Return why a cell's runs cannot be made, None where they can.

    Raises:
        DataFileError: A data set is damaged.
    """
    return next(_problems([cell], load), None)


def unmeasurable(cell: Cell, metrics: Collection[str], load: Load) -> str | None:
    """Return why runs have not all metrics that a search asks of them; None if they have.

    Found out on a network that has not learned and a few samples.

    Args:
        cell: The runs, which can be made.
        metrics: Metrics of a record.
        load: Gives a data set by name.
    """
    dataset = load(cell.dataset)
    model, validation = network_of(cell, dataset.spec, 0), dataset.validation
    few = Split(x=validation.x[:SAMPLES], y=validation.y[:SAMPLES], groups=None)
    reason = None
    if "energy_gauge_fixed" in metrics:
        reason = measure_gauge_fixed(model, few).reason
    if "macs_dense" in metrics:
        reason = reason or count_macs(model, few.x, training=False).reason
    return reason and f"{cell.model} on {cell.dataset}: {reason}"


def _problems(cells: Sequence[Cell], load: Load) -> Iterator[str]:
    for cell in cells:
        dataset = load(cell.dataset)
        try:
            check_batch_size(cell.batch_size, dataset.train)
        except InputError as error:
            yield f"{cell.dataset}: {error}"
    sizes = dict.fromkeys(
        (c.dataset, c.model, c.parameters, c.ratio, c.depth, c.kernel) for c in cells
    )
    for name, model, parameters, ratio, depth, kernel in sizes:
        try:
            sized_builder(model, load(name).spec, parameters, ratio, depth=depth, kernel=kernel)
        except InputError as error:
            yield str(error)
