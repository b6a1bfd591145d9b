"""What a search file may say: a space of networks, what is sought in it, how it is searched.

It is written like a study file; `[space]` has the keys of a study's `[factors]`.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from minaction.search.objectives import OBJECTIVES
from minaction.search.space import count_candidates
from minaction.study.canonical import sha256_of
from minaction.study.read_study import EXPECTED, parse_form, read_text
from minaction.study.study_file import (
    BUDGET,
    MAX_RUNS,
    Count,
    Execution,
    Factors,
    Header,
    Levels,
    Margin,
    Study,
    Table,
    Train,
    check_crossing,
    kept_elsewhere,
    known_name,
    problem,
)
from minaction.study.toml_text import toml_tables

SAMPLERS = {
    "tpe": "a tree-structured Parzen estimator",
    "nsga2": "NSGA-II, a genetic algorithm",
    "random": "random search",
}
"""Names of samplers, and what they are."""

RULES = ("cheapest-within-margin", "most-accurate")

ObjectiveName = Annotated[str, known_name("objective", OBJECTIVES)]
SamplerName = Annotated[str, known_name("sampler", SAMPLERS)]


def _two_or_three(names: tuple[str, ...]) -> tuple[str, ...]:
    if not 2 <= len(names) <= 3:
        raise problem(f"has {len(names)} of them; give two or three of {', '.join(OBJECTIVES)}")
    return names


class Terms(Table):
    """`[search]`: what is sought, and how.

    Attributes:
        name: What the search is called.
        objectives: What is raised, accuracy on the validation split, or lowered, everything else.
        sampler: What proposes candidates.
        evaluations: Candidates that are tried, each once, at one seed.
        batch: Candidates proposed at a time; the results do not depend on how many workers there
            are.
        seed: Seed of the sampler.
        confirm_seeds: Seeds, other than that of the search, with which the front is trained again.
        final_seeds: Seeds with which the chosen network is trained for the test split.
        rule: Which network of the front is chosen.
        margin: Loss of accuracy, a fraction, that counts as none in the choice.
        floor: Validation accuracy below which a candidate is given up, and no part of the front;
            default: one that tells no classes apart, see `learned`.
        patience: Share of a training after which a candidate can be given up.
        device: What latency is measured on.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,90}$")]
    objectives: Annotated[Levels[ObjectiveName], AfterValidator(_two_or_three)]
    sampler: SamplerName
    evaluations: Count
    batch: Annotated[int, Field(ge=1, le=1000)] = 4
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    confirm_seeds: Annotated[int, Field(ge=2, le=1000)] = 4
    final_seeds: Annotated[int, Field(ge=1, le=10_000)] = 10
    rule: Literal["cheapest-within-margin", "most-accurate"] = "cheapest-within-margin"
    margin: Margin = 0.005
    floor: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None = None
    patience: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.5
    device: Annotated[str, Field(pattern=r"^[a-z]+(:[0-9]+)?$")] = "cpu"
    description: Annotated[str, Field(max_length=10_000)] = ""


class Search(Table):
    """A whole search file, checked."""

    search: Terms
    space: Factors
    train: Train = Train()
    execution: Execution = Execution()

    @model_validator(mode="after")
    def _one_space(self) -> Self:
        check_crossing(self.space, self.train, "space")
        if len(self.space.dataset) > 1:
            raise problem("[space] dataset: a search is about one data set; give one")
        if BUDGET in self.space.lam:
            raise problem('[space] lam: "budget" finds a lambda by itself; give numbers')
        crossed = prod(len(of) for _, of in self.space if of is not None)
        if crossed > MAX_RUNS:
            raise problem(
                f"[space]: has {crossed:,} candidates, more than {MAX_RUNS:,}; give fewer levels"
            )
        count, asked = count_candidates(self.crossing), self.search.evaluations
        if asked > count:
            raise problem(
                f"[search] evaluations: is {asked:,}, but [space] has only {count:,} candidates; "
                "give fewer, or run them all with `minaction study run`"
            )
        return self

    @property
    def name(self) -> str:
        """Name of the search."""
        return self.search.name

    @property
    def crossing(self) -> Study:
        """The study that all candidates would make, each with one seed."""
        return Study(
            study=Header(name=self.name, seeds=1),
            factors=self.space,
            train=self.train,
            execution=self.execution,
        )

    @property
    def trial(self) -> dict[str, Any]:
        """How a worker is to try a candidate, see `minaction.study.trial.Trial`."""
        terms = self.search
        wanted = "latency" in terms.objectives
        return {
            "floor": terms.floor,
            "patience": terms.patience,
            "latency_on": terms.device if wanted else None,
        }

    @property
    def sha256(self) -> str:
        """Hash of everything the file says, the description aside."""
        return sha256_of(self.settings)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything the file says but for the description, by its place.

        What it leaves to the models is no key of it, so that new options leave its hash as it is.
        """
        described = {"search": {"description"}}
        tables = self.model_dump(mode="json", exclude_none=True, exclude=described)
        return {f"[{name}] {key}": v for name, table in tables.items() for key, v in table.items()}

    def to_toml(self) -> str:
        """Return the search as TOML with every default spelled out; reading it gives it back."""
        elsewhere = kept_elsewhere(self.space, self.train)
        return toml_tables(self.model_dump(exclude_none=True, exclude={"train": elsewhere}))


_A_SHARE = "a number between 0 and 1"
_EXPECTED = {
    **EXPECTED,
    "name": "1 to 90 letters, digits, '-', '_' or '.'",
    "objectives": f"two or three of {', '.join(OBJECTIVES)}",
    "sampler": f"one of {', '.join(SAMPLERS)}",
    "evaluations": EXPECTED["epochs"],
    "batch": "a whole number from 1 to 1,000",
    "seed": "a whole number from 0 to 4,294,967,295",
    "confirm_seeds": "a whole number from 2 to 1,000",
    "final_seeds": "a whole number from 1 to 10,000",
    "rule": " or ".join(f'"{rule}"' for rule in RULES),
    "floor": f"{_A_SHARE}, both excluded, such as 0.5",
    "patience": f"{_A_SHARE}, such as 0.5",
    "device": 'a device of PyTorch, such as "cpu" or "cuda:0"',
}


def load_search(path: str | Path) -> Search:
    """Read a search file.

    Raises:
        StudyFileError: If it cannot be read or does not describe a search; the message is one line
            that names file, table and key and says what to do.
    """
    return parse_form(read_text(path, "search file"), Search, _EXPECTED, source=path)
