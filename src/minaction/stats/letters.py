"""Compact letter display: groups that share a letter were not shown to differ."""

from __future__ import annotations

import string
from collections.abc import Hashable, Iterable, Sequence

from minaction.errors import InputError


def compact_letters(
    groups: Sequence[Hashable], different: Iterable[tuple[Hashable, Hashable]]
) -> dict[Hashable, str]:
    """Return letters such that two groups share one if and only if they were not found different.

    Insert and absorb: all groups begin in one column; each pair that differs splits every column
    that holds both, and columns contained in another are dropped. A column is a letter.

    Args:
        groups: The groups in the order of the display, such as by descending mean; a comes first.
        different: Pairs of groups found to differ, such as those of `games_howell` with p < alpha.

    Returns:
        For each group its letters in alphabetical order: a to z, then A to Z, then [53] and so on.

    Raises:
        InputError: A group occurs twice, or a pair names a group that is not there or one twice.

    Reference: Piepho (2004), An algorithm for a letter-based representation of all-pairwise
        comparisons, Journal of Computational and Graphical Statistics 13(2).
    """
    rank = {group: i for i, group in enumerate(groups)}
    if len(rank) < len(groups):
        raise InputError("groups: expected each group once")
    columns = [frozenset(rank.values())]
    for pair in different:
        if unknown := [group for group in pair if group not in rank]:
            raise InputError(f"different: {unknown[0]!r} is none of the groups")
        a, b = (rank[group] for group in pair)
        if a == b:
            raise InputError(f"different: {pair[0]!r} is compared with itself")
        columns = absorb(split(columns, a, b))
    columns = sorted(columns, key=sorted)
    return {
        group: "".join(letter(i) for i, column in enumerate(columns) if place in column)
        for group, place in rank.items()
    }


def split(columns: list[frozenset[int]], a: int, b: int) -> list[frozenset[int]]:
    """Return the columns with those that hold both a and b in two, without the one or the other."""
    parts: list[frozenset[int]] = []
    for column in columns:
        parts.extend([column - {a}, column - {b}] if {a, b} <= column else [column])
    return parts


def absorb(columns: list[frozenset[int]]) -> list[frozenset[int]]:
    """Return the columns that are not contained in another, each once."""
    kept: list[frozenset[int]] = []
    for column in sorted(set(columns), key=len, reverse=True):
        if not any(column <= other for other in kept):
            kept.append(column)
    return kept


def letter(i: int) -> str:
    """Return the i-th letter of a display."""
    return string.ascii_letters[i] if i < len(string.ascii_letters) else f"[{i + 1}]"
