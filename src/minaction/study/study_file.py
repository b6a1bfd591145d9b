"""Study files: one TOML file says which runs a study consists of and how they are judged.

What a user wrote becomes a frozen `Study` whose numbers have one spelling, or a `StudyFileError`
of one line. Every table and key is a field of a class below.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from minaction.data.sources import SOURCES
from minaction.energy.catalog import ENERGIES
from minaction.errors import StudyFileError, suggest
from minaction.models.catalog import MODELS, Init
from minaction.models.ratio import parse_ratio
from minaction.study.canonical import sha256_of
from minaction.study.toml_text import one_line, shown, shown_key, toml_value

MAX_BYTES = 1 << 18
MAX_RUNS = 1_000_000
BUDGET = "budget"
"""The lambda of runs that find their own; all other levels are numbers."""

PROXIMAL_ENERGY = "unit_macs"
"""The energy that proximal steps lower."""

Level = TypeVar("Level")


def _as_levels(value: object) -> object:
    """Return a list as a tuple and a scalar as its only level."""
    if isinstance(value, list | tuple):
        return tuple(value)
    return (value,)


def _distinct(levels: tuple[Level, ...]) -> tuple[Level, ...]:
    if not levels:
        raise _problem("has no level; give at least one")
    seen: set[Level] = set()
    for level in levels:
        if level in seen:
            raise _problem(f"level {shown(level)} is there twice; give each level once")
        seen.add(level)
    return levels


def _known(kind: str, names: Mapping[str, object]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in names:
            raise _problem(f"unknown {kind} {shown(name)}{suggest(name, names)}")
        return name

    return AfterValidator(check)


def _problem(text: str) -> PydanticCustomError:
    return PydanticCustomError("study", "{text}", {"text": text})


def _is_ratio(ratio: float | str) -> float | str:
    parse_ratio(ratio)
    return ratio


# -0.0 + 0.0 is 0.0: minus zero is no level of its own.
_OneZero = AfterValidator(lambda number: number + 0.0)

Levels = Annotated[tuple[Level, ...], BeforeValidator(_as_levels), AfterValidator(_distinct)]
DatasetName = Annotated[str, _known("data set", SOURCES)]
ModelName = Annotated[str, _known("model", MODELS)]
EnergyName = Annotated[str, _known("energy", ENERGIES)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), _OneZero]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Margin = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Parameters = Annotated[int, Field(ge=1, le=10**12)]
Ratio = Annotated[float | str, AfterValidator(_is_ratio)]
AutoOrBool = Literal["auto"] | bool

_A_COUNT = "a whole number from 1 to 1,000,000"
_A_SWITCH = '"auto", true or false'
_EXPECTED = {
    "name": "1 to 100 letters, digits, '-', '_' or '.'",
    "seeds": "a whole number from 1 to 10,000",
    "description": "a text of up to 10,000 characters",
    "dataset": f"names of data sets: {', '.join(sorted(SOURCES))}",
    "model": f"names of models: {', '.join(sorted(MODELS))}",
    "energy": f"names of energies: {', '.join(sorted(ENERGIES))}",
    "lam": 'a finite number, 0 or more, or "budget"',
    "lr": "a finite number greater than 0",
    "weight_decay": "a finite number, 0 or more",
    "batch_size": _A_COUNT,
    "epochs": _A_COUNT,
    "steps": _A_COUNT,
    "validate_every": _A_COUNT,
    "parameters": "a whole number from 1 to 1,000,000,000,000",
    "ratio": 'a number or fraction above 0 and at most 4, such as "2/3", or "golden"',
    "init": '"pytorch" or "he"',
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


class Table(BaseModel):
    """A table of a study file: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Header(Table):
    """`[study]`: what the study is called and how often each cell is repeated."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
    seeds: Annotated[int, Field(ge=1, le=10_000)]
    description: Annotated[str, Field(max_length=10_000)] = ""


class Factors(Table):
    """`[factors]`: the levels that are crossed; a scalar counts as a list of one.

    Attributes:
        ratio: Width of a hidden layer over that of the one before; see `build_model`.
        init: How layers that a ReLU or a spiking neuron follows start; see `build_model`.
    """

    dataset: Levels[DatasetName]
    model: Levels[ModelName]
    energy: Levels[EnergyName] = ("activation",)
    lam: Levels[NonNegative | Literal["budget"]] = (0.0,)
    epochs: Levels[Count] | None = None
    batch_size: Levels[Count] | None = None
    lr: Levels[Positive] | None = None
    weight_decay: Levels[NonNegative] | None = None
    parameters: Levels[Parameters] | None = None
    ratio: Levels[Ratio] | None = None
    init: Levels[Init] | None = None


class Train(Table):
    """`[train]`: the settings all runs share, except where `[factors]` has the key.

    Attributes:
        steps: Optimiser steps of a run, the same on every data set, in place of `epochs`.
        validate_every: Steps between two validations; default: those of an epoch.
        ratio: As in `[factors]`; default: every model has its own proportions.
        init: As in `[factors]`; default: every model starts in its own way.
        proximal: Lambda acts through proximal steps that take units out, priced by their MACs,
            in place of the loss; for the energy "unit_macs".
    """

    epochs: Count = 5
    steps: Count | None = None
    validate_every: Count | None = None
    batch_size: Count = 128
    lr: Positive = 1e-3
    weight_decay: NonNegative = 0.0
    parameters: Parameters = 100_000
    ratio: Ratio | None = None
    init: Init | None = None
    proximal: bool = False
    save_weights: bool = False


class Execution(Table):
    """`[execution]`: how the arithmetic is done; "auto" lets a calibration decide."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: AutoOrBool = "auto"
    channels_last: AutoOrBool = "auto"


class BudgetTerms(Table):
    """`[budget]`: how much accuracy runs with `lam = "budget"` may give for a lower energy.

    They are steered so that their validation accuracy stays at most `aim * margin` below that of
    the run of the same settings at lambda 0 and the first seed.

    Attributes:
        margin: Loss of accuracy, a fraction, that counts as none; default: that of `[analysis]`.
        aim: Share of it that is used up; the rest is room for noise. Above 1 where a fine-tune
            after the study will win back the rest.
    """

    margin: Margin | None = None
    aim: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False), _OneZero] = 0.5


class Analysis(Table):
    """`[analysis]`: how lambda will be chosen, fixed before the first run.

    Attributes:
        margin: Largest loss of validation accuracy, as a fraction, that counts as none.
        rule: Which of the non-inferior lambdas is chosen.
        alpha: Level of the non-inferiority test.
    """

    margin: Margin = 0.005
    rule: Literal["largest-non-inferior"] = "largest-non-inferior"
    alpha: Annotated[float, Field(gt=0, lt=0.5, allow_inf_nan=False)] = 0.05


class Study(Table):
    """A whole study file, checked."""

    study: Header
    factors: Factors
    train: Train = Train()
    execution: Execution = Execution()
    budget: BudgetTerms = BudgetTerms()
    analysis: Analysis = Analysis()

    @model_validator(mode="after")
    def _one_feasible_crossing(self) -> Self:
        for key in self._swept():
            if key in self.train.model_fields_set:
                raise _problem(f"[factors] {key}: is also in [train]; keep one of the two")
        for table, given in (("train", self.train), ("factors", self.factors)):
            if self.train.steps and "epochs" in given.model_fields_set:
                raise _problem(f"[train] steps: [{table}] has epochs; keep one of the two")
        if self.train.proximal and set(self.factors.energy) != {PROXIMAL_ENERGY}:
            raise _problem(
                f"[train] proximal: takes units out by their MACs; give [factors] energy as "
                f'"{PROXIMAL_ENERGY}" alone'
            )
        if BUDGET not in self.factors.lam and "budget" in self.model_fields_set:
            raise _problem('[budget]: no lambda is "budget"; add it to lam in [factors]')
        if self.run_count > MAX_RUNS:
            raise _problem(
                f"[factors]: the crossing has {self.run_count:,} runs, more than {MAX_RUNS:,}; "
                "give fewer levels or seeds"
            )
        return self

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.study.name

    @property
    def seeds(self) -> int:
        """Number of seeds; they are 0 ... seeds - 1."""
        return self.study.seeds

    @property
    def levels(self) -> dict[str, tuple[str | int | float, ...]]:
        """Levels of everything a run is configured by, seeds aside; most have just one.

        What the file leaves to the models, `ratio` or `init`, is no key of it.
        """
        crossed = {
            key: (getattr(self.train, key),) if levels is None else levels
            for key, levels in self.factors
            if not (key == "epochs" and self.train.steps)
        }
        return {key: levels for key, levels in crossed.items() if levels != (None,)}

    @property
    def length(self) -> dict[str, int]:
        """What all runs share of their length and validations, as far as the file says it."""
        given = {"steps": self.train.steps, "validate_every": self.train.validate_every}
        return {key: count for key, count in given.items() if count is not None}

    @property
    def run_count(self) -> int:
        """Number of runs: seeds times the product of the numbers of levels, and baselines."""
        levels = self.levels
        lams = levels.pop("lam")
        cells = prod(len(of_factor) for of_factor in levels.values())
        baselines = BUDGET in lams and 0.0 not in lams
        return cells * (self.seeds * len(lams) + baselines)

    @property
    def budget_terms(self) -> dict[str, float]:
        """What runs with a budget are configured by besides the levels."""
        margin = self.analysis.margin if self.budget.margin is None else self.budget.margin
        return {"margin": margin, "aim": self.budget.aim}

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the records, by its place in the file.

        The order of levels, the description and whether a single level was written in
        `[factors]` or in `[train]` decide nothing.
        """
        settings: dict[str, Any] = {"[study] name": self.name, "[study] seeds": self.seeds}
        for key, levels in self.levels.items():
            if len(levels) == 1 and key in Train.model_fields:
                settings[f"[train] {key}"] = levels[0]
            else:
                numbers_first = sorted(levels, key=lambda level: (isinstance(level, str), level))
                settings[f"[factors] {key}"] = numbers_first
        settings |= {f"[train] {key}": count for key, count in self.length.items()}
        if self.train.proximal:
            settings["[train] proximal"] = True
        settings["[train] save_weights"] = self.train.save_weights
        settings |= {f"[execution] {key}": value for key, value in self.execution}
        if BUDGET in self.factors.lam:
            settings |= {f"[budget] {key}": value for key, value in self.budget_terms.items()}
        return settings

    @property
    def analysis_settings(self) -> dict[str, Any]:
        """How the records are judged, by its place in the file."""
        return {f"[analysis] {key}": value for key, value in self.analysis}

    @property
    def sha256(self) -> str:
        """Hash of everything that decides the records."""
        return sha256_of(self.settings)

    @property
    def analysis_sha256(self) -> str:
        """Hash of how they are judged."""
        return sha256_of(self.analysis_settings)

    def to_toml(self) -> str:
        """Return the study as TOML with every default spelled out; reading it gives it back."""
        elsewhere = {*self._swept(), *(["epochs"] if self.train.steps else [])}
        tables = self.model_dump(exclude_none=True, exclude={"train": elsewhere})
        if BUDGET not in self.factors.lam:
            del tables["budget"]
        return "\n".join(
            "".join(
                [f"[{name}]\n", *(f"{key} = {toml_value(value)}\n" for key, value in table.items())]
            )
            for name, table in tables.items()
        )

    def _swept(self) -> list[str]:
        return [key for key in Train.model_fields if getattr(self.factors, key, None) is not None]


def load_study(path: str | Path) -> Study:
    """Read a study file.

    Raises:
        StudyFileError: If it cannot be read or does not describe a study; the message is one line
            that names file, table and key and says what to do.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _error(path, "no such file; give the path of a study file") from None
    except IsADirectoryError:
        raise _error(path, "is a directory; give the path of a study file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _error(path, f"cannot be read ({reason}); give a readable study file") from None
    if len(content) > MAX_BYTES:
        raise _error(path, f"is larger than {MAX_BYTES:,} bytes; give a study file") from None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _error(path, f"line {line}: is not UTF-8; save the file as UTF-8") from None
    return parse_study(text, source=path)


def parse_study(text: str, *, source: str | Path) -> Study:
    """Read a study from TOML text; `source` is what error messages call it.

    Raises:
        StudyFileError: If the text is no TOML or does not describe a study.
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
        raise _error(source, "is empty; write at least the tables [study] and [factors]")
    try:
        return Study.model_validate(tables)
    except ValidationError as error:
        raise _error(source, _first_of(error)) from None


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


def _first_of(error: ValidationError) -> str:
    """Describe the first problem and count the others."""
    problems: dict[tuple[str | int, ...], ErrorDetails] = {}
    for details in error.errors(include_url=False):
        problems.setdefault(_place(details), details)
    place, first = next(iter(problems.items()))
    more = len(problems) - 1
    others = f" (and {more:,} more problem{'s' if more > 1 else ''})" if more else ""
    return _describe(place, first) + others


def _place(details: ErrorDetails) -> tuple[str | int, ...]:
    """Return (table, key, level) as far as the error has them, without pydantic's own parts."""
    place = details["loc"]
    return place[:3] if len(place) > 2 and isinstance(place[2], int) else place[:2]


def _describe(place: tuple[str | int, ...], details: ErrorDetails) -> str:
    if not place:
        return details["msg"]
    table = str(place[0])
    if len(place) == 1:
        return _describe_table(table, details)
    key = str(place[1])
    label = f"[{table}] {shown_key(key)}:"
    if details["type"] == "extra_forbidden":
        return f"{label} unknown key{_hint(table, key)}"
    if details["type"] == "missing":
        return f"{label} is missing; give {_EXPECTED[key]}"
    level = f" level {int(place[2]) + 1}" if len(place) > 2 else ""
    if details["type"] == "study":
        return f"{label}{level and level + ':'} {details['msg']}"
    value = details["input"]
    if table == "train" and isinstance(value, list) and key in Factors.model_fields:
        return f"{label} is {shown(value)}; a list of levels belongs in [factors]"
    return f"{label}{level} is {shown(value)}; expected {_EXPECTED[key]}"


def _describe_table(table: str, details: ErrorDetails) -> str:
    label, remedy = f"[{shown_key(table)}]:", f"write a line [{table}] and its keys below it"
    if details["type"] == "missing":
        return f"{label} is missing; {remedy}"
    if details["type"] == "extra_forbidden":
        return f"{label} unknown table or key{_hint('', table)}"
    return f"{label} is {shown(details['input'])}; {remedy}"


def _hint(table: str, key: str) -> str:
    """Say where an unknown key belongs, or which name is near."""
    homes = [f"[{name}]" for name, keys in _keys() if key in keys and name != table]
    if homes:
        return f"; it belongs in {' or '.join(homes)}"
    return suggest(key, dict(_keys()).get(table, Study.model_fields))


def _keys() -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, table in Study.model_fields.items():
        assert isinstance(table.annotation, type)
        assert issubclass(table.annotation, Table)
        yield name, tuple(table.annotation.model_fields)
