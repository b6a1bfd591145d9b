from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import tooth_growth

from minaction.errors import InputError
from minaction.stats.letters import compact_letters
from minaction.stats.posthoc import games_howell


def test_tooth_growth_as_in_multcompview():
    # R: multcompLetters of games_howell_test's p.adj gives ab, a, c, b, c, c in R's order of cells;
    # ours begins with the largest mean.
    table = games_howell(tooth_growth(), "len", ["supp", "dose"])
    groups = list(dict.fromkeys([*table["group_a"], *table["group_b"]]))
    found = table[table["p"] < 0.05]
    letters = compact_letters(groups, zip(found["group_a"], found["group_b"], strict=True))
    assert letters == {
        "VC, 2.0": "a",
        "OJ, 2.0": "a",
        "OJ, 1.0": "a",
        "VC, 1.0": "b",
        "OJ, 0.5": "bc",
        "VC, 0.5": "c",
    }


def test_nothing_different_is_one_letter():
    assert compact_letters("xyz", []) == {"x": "a", "y": "a", "z": "a"}


def test_all_different_is_a_letter_each():
    letters = compact_letters(range(60), itertools.combinations(range(60), 2))
    assert letters[0] == "a"
    assert letters[51] == "Z"
    assert letters[52] == "[53]"


PAIRS = list(itertools.combinations(range(7), 2))


@given(st.sets(st.sampled_from(PAIRS)))
def test_groups_share_a_letter_if_and_only_if_they_are_not_different(different):
    letters = compact_letters(range(7), different)
    for a, b in PAIRS:
        assert bool(set(letters[a]) & set(letters[b])) == ((a, b) not in different)
    assert all(letters.values())


def test_the_order_of_the_pairs_does_not_matter():
    pairs = [(0, 3), (1, 4), (0, 4), (2, 5), (0, 5)]
    turned = [pair[::-1] for pair in pairs[::-1]]
    assert compact_letters(range(6), pairs) == compact_letters(range(6), turned)


@pytest.mark.parametrize(
    ("groups", "pairs", "message"),
    [
        ("aab", [], "groups: expected each group once"),
        ("ab", [("a", "c")], "different: 'c' is none of the groups"),
        ("ab", [("a", "a")], "different: 'a' is compared with itself"),
    ],
)
def test_bad_input_gets_one_clear_line(groups, pairs, message):
    with pytest.raises(InputError, match=message):
        compact_letters(groups, pairs)
