"""Whether the runs of a study can be made at all, found out before the first one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from minaction.data.dataset import Dataset
from minaction.errors import InputError
from minaction.models.build import sized_builder
from minaction.study.cells import Cell
from minaction.train.loop import check_batch_size

Load = Callable[[str], Dataset]


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


def _problems(cells: Sequence[Cell], load: Load) -> Iterator[str]:
    for cell in cells:
        dataset = load(cell.dataset)
        try:
            check_batch_size(cell.batch_size, dataset.train)
        except InputError as error:
            yield f"{cell.dataset}: {error}"
    sizes = dict.fromkeys((c.dataset, c.model, c.parameters, c.ratio) for c in cells)
    for name, model, parameters, ratio in sizes:
        try:
            sized_builder(model, load(name).spec, parameters, ratio)
        except InputError as error:
            yield str(error)
