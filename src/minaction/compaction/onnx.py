"""ONNX export, checked in onnxruntime to compute the same."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minaction.compaction.batches import first_line
from minaction.energy.scale_rules import tensors_in
from minaction.energy.tape import run_model
from minaction.errors import CompactionError, InputError, StorageError

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
TOLERANCE = 1e-4
"""Largest difference between the outputs of both, relative to the largest output."""

NOISY_LOGGERS = ("torch.onnx", "torch.fx.experimental.symbolic_shapes")

Runner = Callable[[Any], list[np.ndarray]]
"""Runs an ONNX model on one batch of inputs."""


def export(model: nn.Module, example: Any, path: str | Path) -> Path:
    """Write a model as an ONNX file, and check in onnxruntime that it computes the same.

    The number of samples in a batch stays free where the model allows it. The file appears whole
    or not at all.

    Args:
        model: The model, in evaluation mode; not changed.
        example: One batch of its inputs, of two samples or more.
        path: The file to write; one that is there is replaced.

    Returns:
        The path.

    Raises:
        InputError: onnx, onnxruntime or onnxscript is not installed.
        CompactionError: The model cannot be exported, or computes something else in onnxruntime.
        StorageError: The disk refuses the file.
    """
    require_packages()
    path = Path(path)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        _write(model, example, partial)
        _check(model, example, partial)
        partial.replace(path)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written ({error.strerror or error}); make room, mend the "
            "permissions or choose another place"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return path


def runner(path: str | Path, *, threads: int = 1) -> Runner:
    """Return a function that runs an ONNX file in onnxruntime on the CPU.

    Raises:
        InputError: onnxruntime is not installed.
    """
    require_packages()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def run(batch: Any) -> list[np.ndarray]:
        return list(map(np.asarray, session.run(None, _feed(batch, names))))

    return run


def missing_packages() -> list[str]:
    """Return which of the packages that ONNX needs are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def require_packages() -> None:
    """Raise InputError with the line that installs what is missing."""
    missing = missing_packages()
    if missing:
        raise InputError(
            f"ONNX needs {' and '.join(missing)}; install with: pip install 'minaction[onnx]'"
        )


def _feed(batch: Any, names: list[str]) -> dict[str, np.ndarray]:
    if isinstance(batch, Mapping) and set(names) <= set(batch):
        return {name: batch[name].numpy(force=True) for name in names}
    return {
        name: tensor.numpy(force=True)
        for name, tensor in zip(names, tensors_in([batch]), strict=True)
    }


def program_of(model: nn.Module, example: Any) -> torch.export.ExportedProgram:
    """Return a model as an exported program, its batch size free where the model allows it.

    Raises:
        CompactionError: The model cannot be exported.
    """
    keywords = dict(example) if isinstance(example, Mapping) else {}
    arguments = () if keywords else (example,) if isinstance(example, Tensor) else tuple(example)
    shapes = torch.export.ShapesCollection()
    for tensor in tensors_in([example]):
        if tensor.ndim:
            shapes[tensor] = {0: torch.export.Dim.AUTO}
    try:
        with _quiet():
            free = shapes.dynamic_shapes(model, arguments, keywords)
            return torch.export.export(model, arguments, keywords, dynamic_shapes=free)
    except Exception as error:
        raise CompactionError(f"the model cannot be exported: {first_line(error)}") from error


def _write(model: nn.Module, example: Any, path: Path) -> None:
    program = program_of(model, example)
    try:
        with _quiet():
            torch.onnx.export(program, (), path, external_data=False, verbose=False)
    except OSError:
        raise
    except Exception as error:
        raise CompactionError(f"the model cannot be exported: {first_line(error)}") from error


def _check(model: nn.Module, example: Any, path: Path) -> None:
    with torch.no_grad():
        expected = list(tensors_in([run_model(model, example)]))
    try:
        found = runner(path)(example)
    except Exception as error:
        raise CompactionError(f"onnxruntime cannot run the model: {first_line(error)}") from error
    for one, other in zip(expected, found, strict=True):
        size = float(one.abs().max()) if one.numel() else 0.0
        difference = float(np.abs(one.numpy(force=True) - other).max()) if one.numel() else 0.0
        if not difference <= TOLERANCE * size:
            raise CompactionError(
                f"the exported model's output differs by {difference:.2g} from the original's, "
                f"whose largest is {size:.2g}"
            )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from reporting on what nobody asked about, and from printing graphs."""
    loggers = [logging.getLogger(name) for name in NOISY_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
