"""Reading study files: a `Study` of what a user wrote, or a `StudyFileError` of one line.

Other files of this style, whose tables are other classes, are read by `read_text` and `parse_form`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from minaction.data.sources import SOURCES
from minaction.energy.catalog import ENERGIES
from minaction.errors import StudyFileError, suggest
from minaction.models.catalog import MODELS
from minaction.study.study_file import Factors, Study, Table
from minaction.study.toml_text import one_line, shown, shown_key

MAX_BYTES = 1 << 18

Form = TypeVar("Form", bound=Table)

_A_COUNT = "a whole number from 1 to 1,000,000"
_A_SWITCH = '"auto", true or false'
EXPECTED = {
    "name": "1 to 100 letters, digits, '-', '_' or '.'",
    "seeds": "a whole number from 1 to 10,000",
    "description": "a text of up to 10,000 characters",
    "dataset": f"names of data sets: {', '.join(sorted(SOURCES))}",
    "model": f"names of models: {', '.join(sorted(MODELS))}",
    "energy": f"names of energies: {', '.join(sorted(ENERGIES))}",
    "lam": 'a finite number, 0 or more, or "budget"',
    "lr": "a finite number greater than 0",
    "weight_decay": "a finite number, 0 or more",
    "clip_norm": "a finite number greater than 0",
    "batch_size": _A_COUNT,
    "epochs": _A_COUNT,
    "steps": _A_COUNT,
    "validate_every": _A_COUNT,
    "parameters": "a whole number from 1 to 1,000,000,000,000",
    "ratio": 'a number or fraction above 0 and at most 4, such as "2/3", or "golden"',
    "init": '"pytorch" or "he"',
    "depth": "a whole number from 1 to 64",
    "kernel": "an odd whole number from 1 to 63",
    "proximal": "true or false",
    "save_weights": "true or false",
    "precision": '"auto", "float32" or "bfloat16"',
    "compile": _A_SWITCH,
    "channels_last": _A_SWITCH,
    "aim": "a number from 0 to 10, such as 0.5",
    "margin": "a number between 0 and 1, both excluded, such as 0.005",
    "rule": '"largest-non-inferior"',
    "alpha": "a number between 0 and 0.5, both excluded, such as 0.05",
}
"""What is to be written under each key."""


def load_study(path: str | Path) -> Study:
    """Read a study file.

    Raises:
        StudyFileError: If it cannot be read or does not describe a study; the message is one line
            that names file, table and key and says what to do.
    """
    return parse_study(read_text(path, "study file"), source=path)


def read_text(path: str | Path, kind: str) -> str:
    """Read a file of a kind as UTF-8.

    Raises:
        StudyFileError: If it cannot be read, in one line.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _error(path, f"no such file; give the path of a {kind}") from None
    except IsADirectoryError:
        raise _error(path, f"is a directory; give the path of a {kind}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _error(path, f"cannot be read ({reason}); give a readable {kind}") from None
    if len(content) > MAX_BYTES:
        raise _error(path, f"is larger than {MAX_BYTES:,} bytes; give a {kind}") from None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _error(path, f"line {line}: is not UTF-8; save the file as UTF-8") from None


def parse_study(text: str, *, source: str | Path) -> Study:
    """Read a study from TOML text; `source` is what error messages call it.

    Raises:
        StudyFileError: If the text is no TOML or does not describe a study.
    """
    return parse_form(text, Study, EXPECTED, source=source)


def parse_form(
    text: str, form: type[Form], expected: Mapping[str, str], *, source: str | Path
) -> Form:
    """Read the tables of a class from TOML text.

    Args:
        text: The text.
        form: The class.
        expected: What is to be written under each of its tables' keys.
        source: What error messages call the text.

    Raises:
        StudyFileError: If the text is no TOML or does not describe one of these.
    """
    if _has_endless_key(text):
        raise _error(source, "cannot be read (a key of too many parts); write it shorter")
    try:
        tables = tomllib.loads(text.removeprefix("\ufeff"))  # some editors begin with a mark
    except tomllib.TOMLDecodeError as error:
        raise _error(source, _syntax_problem(text, str(error))) from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, deep nesting
        reason = (
            "nested too deeply" if isinstance(error, RecursionError) else "a number is too long"
        )
        raise _error(source, f"cannot be read ({reason}); write it shorter") from None
    if not tables:
        needed = [f"[{name}]" for name, table in form.model_fields.items() if table.is_required()]
        raise _error(source, f"is empty; write at least the tables {' and '.join(needed)}")
    try:
        return form.model_validate(tables)
    except ValidationError as error:
        raise _error(source, _Explainer(form, expected).first_of(error)) from None


def _has_endless_key(text: str, parts: int = 100) -> bool:
    """Spot `a.a.a...`, for which tomllib takes memory with the square of the parts."""
    return any(len(re.findall(r"[^.]\.", run)) > parts for run in re.split(r"[,=\n]", text))


def _error(source: str | Path, problem: str) -> StudyFileError:
    return StudyFileError(one_line(f"{source}: {problem}"))


def _syntax_problem(text: str, message: str) -> str:
    """Turn tomllib's message into one that begins with line and column."""
    found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", message, re.DOTALL)
    if found:
        what, line, column = found.groups()
    else:
        what = message.removesuffix(" (at end of document)")
        lines = text.split("\n")
        line, column = len(lines), len(lines[-1]) + 1
    return f"line {line}, column {column}: {what[:200]}; mend the TOML there"


def _place(details: ErrorDetails) -> tuple[str | int, ...]:
    """Return (table, key, level) as far as the error has them, without pydantic's own parts."""
    place = details["loc"]
    return place[:3] if len(place) > 2 and isinstance(place[2], int) else place[:2]


class _Explainer:
    """Says in a line what is wrong with a file of some form.

    Args:
        form: Its class.
        expected: What is to be written under each key.
    """

    def __init__(self, form: type[Table], expected: Mapping[str, str]) -> None:
        self._form, self._expected = form, expected

    def first_of(self, error: ValidationError) -> str:
        """Describe the first problem and count the others."""
        problems: dict[tuple[str | int, ...], ErrorDetails] = {}
        for details in error.errors(include_url=False):
            problems.setdefault(_place(details), details)
        place, first = next(iter(problems.items()))
        more = len(problems) - 1
        others = f" (and {more:,} more problem{'s' if more > 1 else ''})" if more else ""
        return self._describe(place, first) + others

    def _describe(self, place: tuple[str | int, ...], details: ErrorDetails) -> str:
        if not place:
            return details["msg"]
        table = str(place[0])
        if len(place) == 1:
            return self._describe_table(table, details)
        key = str(place[1])
        label = f"[{table}] {shown_key(key)}:"
        if details["type"] == "extra_forbidden":
            return f"{label} unknown key{self._hint(table, key)}"
        if details["type"] == "missing":
            return f"{label} is missing; give {self._expected[key]}"
        level = f" level {int(place[2]) + 1}" if len(place) > 2 else ""
        if details["type"] == "study":
            return f"{label}{level and level + ':'} {details['msg']}"
        value = details["input"]
        if table == "train" and isinstance(value, list) and key in Factors.model_fields:
            (home,) = (name for name, one in self._tables() if one is Factors)
            return f"{label} is {shown(value)}; a list of levels belongs in [{home}]"
        return f"{label}{level} is {shown(value)}; expected {self._expected[key]}"

    def _describe_table(self, table: str, details: ErrorDetails) -> str:
        label, remedy = f"[{shown_key(table)}]:", f"write a line [{table}] and its keys below it"
        if details["type"] == "missing":
            return f"{label} is missing; {remedy}"
        if details["type"] == "extra_forbidden":
            return f"{label} unknown table or key{self._hint('', table)}"
        return f"{label} is {shown(details['input'])}; {remedy}"

    def _hint(self, table: str, key: str) -> str:
        """Say where an unknown key belongs, or which name is near."""
        keys = {name: tuple(one.model_fields) for name, one in self._tables()}
        homes = [f"[{name}]" for name, own in keys.items() if key in own and name != table]
        if homes:
            return f"; it belongs in {' or '.join(homes)}"
        return suggest(key, keys.get(table, self._form.model_fields))

    def _tables(self) -> Iterator[tuple[str, type[Table]]]:
        for name, field in self._form.model_fields.items():
            assert isinstance(field.annotation, type)
            assert issubclass(field.annotation, Table)
            yield name, field.annotation
