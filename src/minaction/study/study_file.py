"""What a study file may say: which runs a study consists of and how they are judged.

Every table and key is a field of a class below; a `Study` is frozen and its numbers have one
spelling. `minaction.study.read_study` makes one of a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic_core import PydanticCustomError

from minaction.data.sources import SOURCES
from minaction.energy.catalog import ENERGIES
from minaction.errors import suggest
from minaction.models.catalog import MODELS, Init
from minaction.models.ratio import parse_ratio
from minaction.study.canonical import sha256_of
from minaction.study.toml_text import shown, toml_tables

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


def distinct(levels: tuple[Level, ...]) -> tuple[Level, ...]:
    """Return levels, of which there is one or more and none twice."""
    if not levels:
        raise problem("has no level; give at least one")
    seen: set[Level] = set()
    for level in levels:
        if level in seen:
            raise problem(f"level {shown(level)} is there twice; give each level once")
        seen.add(level)
    return levels


def known_name(kind: str, names: Mapping[str, object]) -> AfterValidator:
    """Return the validator of a name that must be among `names`."""

    def check(name: str) -> str:
        if name not in names:
            raise problem(f"unknown {kind} {shown(name)}{suggest(name, names)}")
        return name

    return AfterValidator(check)


def problem(text: str) -> PydanticCustomError:
    """Return the error of a file's content that says `text`."""
    return PydanticCustomError("study", "{text}", {"text": text})


def _is_ratio(ratio: float | str) -> float | str:
    parse_ratio(ratio)
    return ratio


def _is_odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError("even kernels have no centre")
    return kernel


# -0.0 + 0.0 is 0.0: minus zero is no level of its own.
_OneZero = AfterValidator(lambda number: number + 0.0)

Levels = Annotated[tuple[Level, ...], BeforeValidator(_as_levels), AfterValidator(distinct)]
DatasetName = Annotated[str, known_name("data set", SOURCES)]
ModelName = Annotated[str, known_name("model", MODELS)]
EnergyName = Annotated[str, known_name("energy", ENERGIES)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), _OneZero]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Margin = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Parameters = Annotated[int, Field(ge=1, le=10**12)]
Ratio = Annotated[float | str, AfterValidator(_is_ratio)]
Depth = Annotated[int, Field(ge=1, le=64)]
Kernel = Annotated[int, Field(ge=1, le=63), AfterValidator(_is_odd)]
AutoOrBool = Literal["auto"] | bool


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
        clip_norm: Largest norm of a gradient; see `TrainConfig`.
        ratio: Width of a hidden layer over that of the one before; see `build_model`.
        init: How layers that a ReLU or a spiking neuron follows start; see `build_model`.
        depth: Number of layers, of models that take it; see `build_model`.
        kernel: Size of kernels, of models that take it; see `build_model`.
    """

    dataset: Levels[DatasetName]
    model: Levels[ModelName]
    energy: Levels[EnergyName] = ("activation",)
    lam: Levels[NonNegative | Literal["budget"]] = (0.0,)
    epochs: Levels[Count] | None = None
    batch_size: Levels[Count] | None = None
    lr: Levels[Positive] | None = None
    weight_decay: Levels[NonNegative] | None = None
    clip_norm: Levels[Positive] | None = None
    parameters: Levels[Parameters] | None = None
    ratio: Levels[Ratio] | None = None
    init: Levels[Init] | None = None
    depth: Levels[Depth] | None = None
    kernel: Levels[Kernel] | None = None


class Train(Table):
    """`[train]`: the settings all runs share, except where `[factors]` has the key.

    Attributes:
        steps: Optimiser steps of a run, the same on every data set, in place of `epochs`.
        validate_every: Steps between two validations; default: those of an epoch.
        clip_norm: As in `[factors]`; default: gradients are not clipped.
        ratio: As in `[factors]`; default: every model has its own proportions.
        init: As in `[factors]`; default: every model starts in its own way.
        depth: As in `[factors]`; default: every model has its own.
        kernel: As in `[factors]`; default: every model has its own.
        proximal: Lambda acts through proximal steps that take units out, priced by their MACs,
            in place of the loss; for the energy "unit_macs".
    """

    epochs: Count = 5
    steps: Count | None = None
    validate_every: Count | None = None
    batch_size: Count = 128
    lr: Positive = 1e-3
    weight_decay: NonNegative = 0.0
    clip_norm: Positive | None = None
    parameters: Parameters = 100_000
    ratio: Ratio | None = None
    init: Init | None = None
    depth: Depth | None = None
    kernel: Kernel | None = None
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
        check_crossing(self.factors, self.train, "factors")
        if BUDGET not in self.factors.lam and "budget" in self.model_fields_set:
            raise problem('[budget]: no lambda is "budget"; add it to lam in [factors]')
        if self.run_count > MAX_RUNS:
            raise problem(
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

        What the file leaves to the models, such as `ratio` or `init`, is no key of it.
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
        elsewhere = kept_elsewhere(self.factors, self.train)
        tables = self.model_dump(exclude_none=True, exclude={"train": elsewhere})
        if BUDGET not in self.factors.lam:
            del tables["budget"]
        return toml_tables(tables)


def check_crossing(factors: Factors, train: Train, table: str) -> None:
    """Raise where what is crossed, a table of some name, and `[train]` do not go together."""
    for key in _swept(factors):
        if key in train.model_fields_set:
            raise problem(f"[{table}] {key}: is also in [train]; keep one of the two")
    for name, given in (("train", train), (table, factors)):
        if train.steps and "epochs" in given.model_fields_set:
            raise problem(f"[train] steps: [{name}] has epochs; keep one of the two")
    if train.proximal and set(factors.energy) != {PROXIMAL_ENERGY}:
        raise problem(
            f"[train] proximal: takes units out by their MACs; give [{table}] energy as "
            f'"{PROXIMAL_ENERGY}" alone'
        )


def kept_elsewhere(factors: Factors, train: Train) -> set[str]:
    """Return the keys of `[train]` that a file must not repeat."""
    return {*_swept(factors), *(["epochs"] if train.steps else [])}


def _swept(factors: Factors) -> list[str]:
    return [key for key in Train.model_fields if getattr(factors, key, None) is not None]
