"""Models of the user: `module:factory` with safetensors weights, or exported programs.

A file is never unpickled: pickles (.pt, .pth, .pkl, .bin) run whatever code they hold.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from minaction.errors import ModelError, suggest
from minaction.models.exported import load_exported

SHOWN = 5
"""Names that a message lists of many."""

_SUFFIXES = {".pt2", ".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".safetensors", ".onnx"}
_CONVERT = (
    "pickles are never loaded, as they can run code; where you trust the file, convert it: "
    "python -c \"import torch, safetensors.torch as s; s.save_file(torch.load('{path}', "
    "weights_only=True), '{stem}.safetensors')\""
)


def load_model(target: str, weights: Path | None = None) -> nn.Module:
    """Load a model of the user's.

    Args:
        target: `package.module:factory`, importable from here or from the current directory, the
            factory being called without arguments (or being a module already), or the path of an
            exported program (`torch.export.save`, .pt2).
        weights: A safetensors file with all of the model's parameters and persistent buffers; for a
            factory only.

    Returns:
        The model. An exported program is in evaluation mode, anything else as its factory left it.

    Raises:
        ModelError: There is no such model, making it failed, or the weights are not its own.

    Example:
        >>> load_model("mypackage.models:resnet", Path("resnet.safetensors"))
    """
    if _is_file(target):
        if weights is not None:
            raise ModelError(f"{target} is a file with weights of its own; leave {weights} out")
        return _load_file(Path(target))
    model = _make(target)
    if weights is not None:
        load_weights(model, weights)
    return model


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a safetensors file into `model`; if it does not fit, nothing is changed.

    Raises:
        ModelError: The file cannot be read, or its tensors are not those of the model.
    """
    own = {k: v for k, v in model.state_dict(keep_vars=True).items() if isinstance(v, Tensor)}
    found = read_weights(path)
    shared = {id(own[name]) for name in own.keys() & found.keys()}
    # of a parameter with two names a file holds one
    missing = [
        name for name, tensor in own.items() if name not in found and id(tensor) not in shared
    ]
    unexpected = [name for name in found if name not in own]
    if missing or unexpected:
        parts = [
            f"{what} {_listed(names)}"
            for what, names in (("missing", missing), ("unexpected", unexpected))
            if names
        ]
        raise ModelError(f"{path}: does not fit {type(model).__name__}: {'; '.join(parts)}")
    for name, tensor in found.items():
        if not is_lazy(own[name]) and tensor.shape != own[name].shape:
            raise ModelError(
                f"{path}: {name} is {list(tensor.shape)}, the model's is {list(own[name].shape)}"
            )
    model.load_state_dict(found, strict=False)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        ModelError: The file is missing or no safetensors file.
    """
    kind = _kind_of(path)
    if kind is not None:
        raise ModelError(f"{path}: is {kind}, expected a safetensors file{_advice(path, kind)}")
    try:
        return load_file(path)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read as a safetensors file ({error})") from error


def _load_file(path: Path) -> nn.Module:
    kind = _kind_of(path)
    if kind == EXPORTED:
        return load_exported(path)
    if kind is None and path.suffix == ".safetensors":
        raise ModelError(f"{path}: holds weights without a model; give MODULE:FACTORY too")
    raise ModelError(
        f"{path}: is {kind or 'no model that can be loaded'}; give MODULE:FACTORY or an exported "
        f"program (torch.export.save, .pt2){_advice(path, kind)}"
    )


EXPORTED = "an exported program"
PICKLE = "a pickle"
SCRIPT = "a TorchScript program"


def _kind_of(path: Path) -> str | None:
    """Say what a file is by its content, None where that is not one of the known kinds."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise ModelError(f"{path}: {what}; give the path of a file")
    try:
        with path.open("rb") as file:
            start = file.read(9)
        if not zipfile.is_zipfile(path):
            # every pickle since protocol 2 starts so, and weights saved by old versions of torch;
            # a safetensors file does by chance: its header, from byte 8 on, is some 128 bytes long
            return PICKLE if start[:1] == b"\x80" and start[8:] != b"{" else None
        with zipfile.ZipFile(path) as archive:
            records = {name.partition("/")[2] for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: cannot be read ({error})") from error
    if "archive_format" in records:
        return EXPORTED
    if "constants.pkl" in records:
        return SCRIPT
    return PICKLE if "data.pkl" in records else "an archive of another program"


def _advice(path: Path, kind: str | None) -> str:
    if kind == SCRIPT:
        return "; TorchScript models cannot be observed: use the original module"
    if kind == PICKLE or (kind is None and path.suffix in {".pt", ".pth", ".pkl", ".bin", ".ckpt"}):
        return f"; {_CONVERT.format(path=path, stem=path.with_suffix(''))}"
    return ""


def _is_file(target: str) -> bool:
    path = Path(target)
    if path.suffix.lower() in _SUFFIXES or path.is_file():
        return True
    module, _, attribute = target.rpartition(":")
    if not module or not attribute:
        raise ModelError(
            f"{target!r}: expected package.module:factory or the path of an exported program (.pt2)"
        )
    return False


def _make(target: str) -> nn.Module:
    module_name, _, attribute = target.rpartition(":")
    with _current_directory_importable():
        made: Any = _imported(module_name)
        for name in attribute.split("."):
            if not hasattr(made, name):
                raise ModelError(f"{module_name} has no {name!r}{_suggestion(name, made)}")
            made = getattr(made, name)
        if not isinstance(made, nn.Module):
            made = _called(target, made)
    if not isinstance(made, nn.Module):
        raise ModelError(f"{target} gives {type(made).__name__}, expected a torch.nn.Module")
    return made


def _imported(name: str) -> Any:
    if name.endswith(".py"):
        module = ".".join(Path(name).with_suffix("").parts)
        raise ModelError(f"{name} is a file; give the module that it is: {module}:FACTORY")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise ModelError(
                f"there is no module {error.name!r}; install it, or run this in its folder"
            ) from error
        raise ModelError(f"importing {name} failed: {_described(error)}") from error
    except (Exception, SystemExit) as error:
        raise ModelError(f"importing {name} failed: {_described(error)}") from error


def _called(target: str, factory: Any) -> Any:
    if not callable(factory):
        kind = type(factory).__name__
        raise ModelError(
            f"{target} is of type {kind}, expected a function, class or torch.nn.Module"
        )
    try:
        return factory()
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"{target} failed: {_described(error)}; it is called without arguments"
        ) from error


@contextlib.contextmanager
def _current_directory_importable() -> Iterator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(here)


def _suggestion(name: str, owner: Any) -> str:
    """Suggest what is defined there and could make a model."""
    known = [
        public
        for public, value in vars(owner).items()
        if not public.startswith("_")
        and (isinstance(value, nn.Module) or callable(value))
        and getattr(value, "__module__", None) == getattr(owner, "__name__", None)
    ]
    return suggest(name, known) if known else ""


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _described(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
