"""Lists the public API, one name a line with its parameters: `python tests/public_api.py`.

Public is what the pages in docs/reference document. Each line of tests/public_api.txt is a promise:
a change to one is a change for users, and stands in the changelog.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LISTED = ROOT / "tests" / "public_api.txt"


def documented() -> list[str]:
    """Return the dotted names that the reference documents, in its order."""
    pages = sorted((ROOT / "docs" / "reference").glob("*.md"))
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    return re.findall(r"^::: (\S+)$", text, re.MULTILINE)


def lines() -> list[str]:
    """Return the public API, sorted."""
    return sorted({line for name in documented() for line in described(name, resolve(name))})


def resolve(name: str) -> Any:
    """Return the object of a dotted name."""
    parent, _, last = name.rpartition(".")
    if not parent:
        return importlib.import_module(name)
    holder = resolve(parent)
    return getattr(holder, last) if hasattr(holder, last) else importlib.import_module(name)


def described(name: str, value: Any) -> Iterator[str]:
    """Yield a line for a function, and for a class one more for each public member."""
    if inspect.ismodule(value):
        for member, part in vars(value).items():
            if inspect.isclass(part) and part.__module__ == value.__name__:
                yield from described(f"{name}.{member}", part)
        return
    yield f"{name}{signature(value)}"
    if inspect.isclass(value):
        fields = getattr(value, "__dataclass_fields__", {})  # among the parameters already
        for member, part in sorted(vars(value).items()):
            if not member.startswith("_") and member not in fields:
                yield f"{name}.{member}{signature(inspect.unwrap(getattr(value, member)), part)}"


def signature(value: Any, declared: Any = None) -> str:
    """Return the parameters of what can be called, without annotations; else nothing."""
    if isinstance(declared, property) or not callable(value):
        return ""
    try:
        found = inspect.signature(value)
    except ValueError:  # an exception's, made in C
        return "(...)"
    plain = [p.replace(annotation=p.empty) for p in found.parameters.values()]
    text = str(found.replace(parameters=plain, return_annotation=found.empty))
    return re.sub(r" object at 0x[0-9a-f]+", "", text)


if __name__ == "__main__":
    LISTED.write_text("\n".join(lines()) + "\n", encoding="utf-8")
