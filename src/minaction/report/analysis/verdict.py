"""What a verdict on a finding of the reference study is: one of four words, by a stated rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

REFERENCE = "arXiv:2604.24805"


class Word(StrEnum):
    """What a study says of a finding."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    NOT_DECIDED = "not decided"
    NOT_TESTED = "not tested by this study"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A finding of the reference study, as it was published.

    Attributes:
        number: 1 to 3.
        claim: What it says.
        published: Its figures.
        rule: When a study supports or contradicts it.
    """

    number: int
    claim: str
    published: str
    rule: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a study says of a finding.

    Attributes:
        finding: The finding.
        word: The verdict.
        because: The numbers that decide it, or what is missing, in sentences.
        numbers: The same for a machine, JSON-able.
    """

    finding: Finding
    word: Word
    because: Sequence[str]
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON."""
        return {
            "finding": self.finding.number,
            "claim": self.finding.claim,
            "reference": REFERENCE,
            "published": self.finding.published,
            "verdict": str(self.word),
            "because": list(self.because),
            "numbers": dict(self.numbers),
            "rule": self.finding.rule,
        }


def overall(groups: Iterable[Sequence[Word]]) -> Word:
    """Return the verdict on a claim about several groups, of cases each.

    Supported where every case is; contradicted where all cases of any one group are; else not
    decided, as with a group of no cases. Of several cases none decides alone.
    """
    cases = [list(group) for group in groups]
    if any(group and all(word is Word.CONTRADICTED for word in group) for group in cases):
        return Word.CONTRADICTED
    if cases and all(group and set(group) == {Word.SUPPORTED} for group in cases):
        return Word.SUPPORTED
    return Word.NOT_DECIDED
