"""Copies of models: nothing is ever done to a model of the user's."""

from __future__ import annotations

import copy

from torch import nn

from minaction.compaction.batches import first_line
from minaction.errors import CompactionError


def copy_of(model: nn.Module) -> nn.Module:
    """Return a deep copy of a model.

    Raises:
        CompactionError: It cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise CompactionError(f"the model cannot be copied: {first_line(error)}") from error
