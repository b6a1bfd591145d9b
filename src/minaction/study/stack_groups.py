"""Which runs of a study can be trained as one, and in groups of what size. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from minaction.study.design import RunConfig
from minaction.study.study_file import BUDGET

FleetMode = Literal["auto", "on", "off"]
"""Whether runs are stacked: where it pays, wherever it can be done, or never."""

OWN = frozenset({"seed", "lam", "lr", "weight_decay", "clip_norm", "init", "margin", "aim"})
"""What runs of one stack may differ in."""


def stack_key(config: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what runs must share to be stacked, whether lambda is a budget included."""
    shared = sorted((key, value) for key, value in config.items() if key not in OWN)
    return (*shared, config["lam"] == BUDGET)


def kind_name(model: str, dataset: str) -> str:
    """Return what the size of stacks is decided by, e.g. `mlp on digits`."""
    return f"{model} on {dataset}"


def stackable(configs: Iterable[Mapping[str, Any]], workers: int) -> dict[str, int]:
    """Return the largest stack of each kind that leaves a share for every worker, if above 1.

    Proximal runs are none: their steps take units out of one network at a time.
    """
    counts = Counter(stack_key(config) for config in configs if not config.get("proximal"))
    largest: dict[str, int] = {}
    for key, count in counts.items():
        shared = dict(key[:-1])
        name = kind_name(shared["model"], shared["dataset"])
        largest[name] = max(largest.get(name, 1), -(-count // workers))
    return {name: size for name, size in largest.items() if size > 1}


def grouped(
    configs: Sequence[RunConfig], sizes: Mapping[str, int], workers: int
) -> Iterator[list[RunConfig]]:
    """Yield runs that are to be trained as one; those that are not are groups of one.

    Args:
        configs: The runs.
        sizes: Largest stack of each kind; other runs stay single.
        workers: Who share them: groups are smaller where some would have none.
    """
    alike: dict[tuple[Any, ...], list[RunConfig]] = {}
    for config in configs:
        if config.get("proximal") or _size(config, sizes) == 1:
            yield [config]
        else:
            alike.setdefault(stack_key(config), []).append(config)
    for runs in alike.values():
        size = min(_size(runs[0], sizes), -(-len(runs) // workers))
        yield from (runs[start : start + size] for start in range(0, len(runs), size))


def _size(config: Mapping[str, Any], sizes: Mapping[str, int]) -> int:
    return sizes.get(kind_name(config["model"], config["dataset"]), 1)
