"""Cross-validation over a whole data set, by group where there are groups."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from minaction.data.dataset import Dataset, Split
from minaction.data.split import SPLIT_SEED
from minaction.errors import InputError


def fold_of(dataset: Dataset, fold: int, folds: int) -> Dataset:
    """Return the data set split anew, for one fold of a cross-validation.

    All samples are pooled and dealt to `folds` parts: whole groups in turn where there are groups
    (as many folds as groups leave one group out each), else sample by sample, stratified by class
    in a fixed random order. Part `fold` is the test, the next one the validation part, the rest
    trains; so every sample is tested once over all folds.

    For data sets whose preparation takes no statistic from the training part, which would have
    seen the new test; that is all but images, standardised by one mean and deviation, and text.

    Args:
        dataset: what is split anew.
        fold: 0 to `folds` - 1.
        folds: number of parts, at least 3.

    Raises:
        InputError: `fold` or `folds` is out of range, a part lacks a class, or the data set is of
            images or text.
    """
    if not folds >= 3 or not 0 <= fold < folds:
        raise InputError(f"fold {fold} of {folds} folds: expected 3 or more folds, counted from 0")
    if dataset.spec.modality in ("vision", "text"):
        raise InputError(
            f"{dataset.spec.name} was prepared with its training part and cannot be split anew"
        )
    pooled = _pooled(dataset)
    part = _dealt(pooled, folds)
    test, validation = part == fold, part == (fold + 1) % folds
    splits = {"train": ~test & ~validation, "validation": validation, "test": test}
    return Dataset.of(
        spec=dataset.spec,
        **{name: _taken(dataset, name, pooled, mask) for name, mask in splits.items()},
    )


def _pooled(dataset: Dataset) -> Split:
    splits = dataset.splits().values()
    groups = [split.groups for split in splits if split.groups is not None]
    return Split(
        x=torch.cat([split.x for split in splits]),
        y=torch.cat([split.y for split in splits]),
        groups=torch.cat(groups) if groups else None,
    )


def _dealt(pooled: Split, folds: int) -> NDArray[np.int64]:
    if pooled.groups is not None:
        names, index = np.unique(pooled.groups.numpy(), return_inverse=True)
        if len(names) < folds:
            raise InputError(f"{folds} folds of {len(names)} groups: expected at most as many")
        return index % folds
    keys = np.random.PCG64(SPLIT_SEED).random_raw(len(pooled))
    part = np.empty(len(pooled), dtype=np.int64)
    part[np.lexsort((keys, pooled.y.numpy()))] = np.arange(len(pooled)) % folds
    return part


def _taken(dataset: Dataset, name: str, pooled: Split, mask: NDArray[np.bool_]) -> Split:
    kept = torch.from_numpy(mask)
    counts = pooled.y[kept].bincount(minlength=dataset.spec.classes)
    if absent := (counts == 0).nonzero().flatten().tolist():
        raise InputError(
            f"the {name} part of this fold of {dataset.spec.name} has no sample of class "
            f"{dataset.spec.class_names[absent[0]]!r}; use fewer folds"
        )
    return Split(
        x=pooled.x[kept],
        y=pooled.y[kept],
        groups=None if pooled.groups is None else pooled.groups[kept],
    )
