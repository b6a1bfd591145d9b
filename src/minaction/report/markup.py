"""Pieces of HTML: everything that comes from names and errors is escaped here, and only here."""

from __future__ import annotations

import base64
import html
import json
import re
import zlib
from collections.abc import Sequence

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")
_UNSAFE_IN_SCRIPT = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def clean(text: object) -> str:
    """Return text any reader of HTML takes: no control characters, no half surrogates."""
    whole = str(text).encode("utf-8", "replace").decode("utf-8")
    return _CONTROL.sub("\ufffd", whole.replace("\r\n", "\n"))


def escape(text: object) -> str:
    """Return text safe between tags and inside quoted attributes."""
    return html.escape(clean(text))


def script_json(value: object) -> str:
    """Return a value as JSON that no HTML parser can mistake for markup.

    `</script>` and `<!--` cannot occur: `<`, `>` and `&` are written as escapes.
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.translate(_UNSAFE_IN_SCRIPT)


def element(tag: str, path: str, text: object, kind: str = "") -> str:
    """Return an element whose text is bound to the finding at `path`, so `verify` can check it."""
    named = f' class="{kind}"' if kind else ""
    return f'<{tag}{named} data-path="{escape(path)}">{escape(text)}</{tag}>'


def cell(path: str, text: str, note: str = "", *, kind: str = "number") -> str:
    """Return a table cell that shows the finding at `path`, with a smaller second line.

    Without a path it is bound by its row and its column, see `table`.
    """
    small = f" <small>{escape(note)}</small>" if note else ""
    return f'<td class="{kind}"{attribute("data-path", path)}>{escape(text)}{small}</td>'


def row_heading(path: str, text: str, kind: str = "") -> str:
    """Return the cell that names a row; one of kind `number` is never broken, not at a hyphen."""
    named = f' class="{kind}"' if kind else ""
    return f'<th scope="row"{named} data-path="{escape(path)}">{escape(text)}</th>'


def table(
    caption: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    path: str,
    shaded: Sequence[bool] = (),
    note: str = "",
    keys: Sequence[str] = (),
    bound: Sequence[str] = (),
) -> str:
    """Return a table that scrolls sideways where it does not fit.

    Args:
        caption: Plain text.
        columns: Headings, plain text.
        rows: Cells, already HTML.
        path: The finding that caption and note are about.
        shaded: Which rows stand out; by default none.
        note: Plain text below the table.
        keys: What the columns show, for cells without a path of their own; empty for a column of
            row headings.
        bound: The findings that the rows are about, where there are keys.
    """
    head = "".join(
        f'<th scope="col"{attribute("data-key", key)}>{escape(column)}</th>'
        for column, key in zip(columns, keys or [""] * len(columns), strict=True)
    )
    body = "\n".join(
        f"<tr{attribute('class', 'chosen' if shade else '')}{attribute('data-row', at)}>"
        f"{''.join(row)}</tr>"
        for shade, at, row in zip(
            shaded or [False] * len(rows), bound or [""] * len(rows), rows, strict=True
        )
    )
    below = element("p", path, note, "note") if note else ""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}">\n'
        f"<table>\n{element('caption', path, caption)}\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody>\n</table>\n</div>\n{below}"
    )


def attribute(name: str, value: str) -> str:
    """Return an attribute with a space before it, nothing where there is no value."""
    return f' {name}="{escape(value)}"' if value else ""


def section(name: str, title: str, *content: str) -> str:
    """Return a section of the page with its heading; nothing where there is no content."""
    inside = "\n".join(part for part in content if part)
    if not inside:
        return ""
    return (
        f'<section aria-labelledby="{name}">\n<h2 id="{name}">{escape(title)}</h2>\n'
        f"{inside}\n</section>\n"
    )


def details(summary: str, path: str, content: str) -> str:
    """Return content that is folded until it is asked for; `path` is what the summary is about."""
    return f"<details>\n{element('summary', path, summary)}\n{content}\n</details>\n"


PACKED_FROM = 1 << 18
"""Characters of JSON from which a block is packed."""


def embedded_json(name: str, kind: str, value: object) -> str:
    """Return a block of JSON that scripts and `verify` read back by its id, a long one packed."""
    text = script_json(value)
    if len(text) >= PACKED_FROM:
        return packed_block(name, kind, text)
    return f'<script type="application/json" id="{escape(name)}" class="{kind}">{text}</script>\n'


def packed_block(name: str, kind: str, text: str) -> str:
    """Return a block that holds any text packed: base64 of zlib's format.

    Browsers read the format as `deflate`.
    """
    packed = base64.b64encode(zlib.compress(text.encode(), 9)).decode("ascii")
    return f'<script type="{PACKED}" id="{escape(name)}" class="{kind}">{packed}</script>\n'


PACKED = "application/zlib"
"""Type of packed blocks, by which readers know them."""


def unpack(text: str) -> str:
    """Return what a packed block holds.

    Raises:
        ValueError: It is no packed text.
    """
    try:
        return zlib.decompress(base64.b64decode(text, validate=True)).decode()
    except zlib.error as error:
        raise ValueError(f"not packed: {error}") from None
