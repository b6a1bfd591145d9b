"""How values are spelled in TOML, and how any of them is shown within one line of a message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, time

_SHOWN_CHARACTERS = 60


def toml_value(value: object) -> str:
    """Spell a string, number, boolean, date or list of these in TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{one_line(escaped)}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    return repr(value)


def toml_tables(tables: Mapping[str, Mapping[str, object]]) -> str:
    """Spell tables of values in TOML."""
    return "\n".join(
        "".join(
            [f"[{name}]\n", *(f"{key} = {toml_value(value)}\n" for key, value in table.items())]
        )
        for name, table in tables.items()
    )


def shown(value: object) -> str:
    """Return a value as a study file spells it, short enough for a message.

    Numbers whose digits would fill the line and nested values are described instead.
    """
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a huge number"
    if isinstance(value, list | tuple):
        text = f"[{', '.join(_element(item) for item in value[:_SHOWN_CHARACTERS])}]"
    else:
        text = toml_value(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


def shown_key(key: str) -> str:
    """Return a key as it stands in a file: bare where TOML allows it, else quoted."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", key) else shown(key)


def one_line(text: str) -> str:
    r"""Escape whatever would break a line or hide on a terminal, as TOML does (`\u000a`)."""
    return "".join(
        c if c.isprintable() else f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"
        for c in text
    )


def _element(value: object) -> str:
    return "an array" if isinstance(value, list | tuple) else shown(value)
