"""Files of a smaller network: weights, exported program, ONNX, and what was done."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from minaction.compaction.batches import first_line
from minaction.compaction.compact import Compaction
from minaction.compaction.cost import serialised
from minaction.compaction.onnx import export, program_of
from minaction.errors import CompactionError, StorageError


def save_compaction(
    compaction: Compaction,
    folder: str | Path,
    name: str,
    values: Mapping[str, Any],
    *,
    onnx: bool = False,
) -> list[Path]:
    """Write `NAME.safetensors`, `NAME.pt2`, `NAME.json` and, if asked, `NAME.onnx`.

    The exported program (.pt2) holds the smaller network as a whole: `torch.export.load` needs no
    Python source of it. All files appear whole, and only once all could be made.

    Args:
        compaction: The smaller network.
        folder: Where the files go; made if it is not there.
        name: Their name.
        values: What `NAME.json` holds.
        onnx: Write an ONNX file too, checked in onnxruntime.

    Returns:
        The paths of the files.

    Raises:
        CompactionError: The network cannot be exported.
        InputError: A package for ONNX is not installed.
        StorageError: The disk refuses the files.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".compact-") as scratch:
            drafts = _write(compaction, Path(scratch) / name, values, onnx=onnx)
            return [draft.replace(folder / draft.name) for draft in drafts]
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot be written ({error.strerror or error}); make room, mend the "
            "permissions or choose another place"
        ) from error


def _write(
    compaction: Compaction, stem: Path, values: Mapping[str, Any], *, onnx: bool
) -> list[Path]:
    weights, program, report = (
        stem.with_name(f"{stem.name}.{kind}") for kind in ("safetensors", "pt2", "json")
    )
    weights.write_bytes(serialised(compaction.model))
    _write_program(compaction.model, compaction.example, program)
    report.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    files = [weights, program, report]
    if onnx:
        files.append(
            export(compaction.model, compaction.example, stem.with_name(f"{stem.name}.onnx"))
        )
    return files


def _write_program(model: nn.Module, example: Any, path: Path) -> None:
    exported = program_of(model, example)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.export.save(exported, path)
    except OSError:
        raise
    except Exception as error:
        raise CompactionError(f"the model cannot be exported: {first_line(error)}") from error
