from __future__ import annotations

import pytest

from minaction.report.analysis.verdict import Word, overall

YES, NO, OPEN = Word.SUPPORTED, Word.CONTRADICTED, Word.NOT_DECIDED


@pytest.mark.parametrize(
    ("groups", "word"),
    [
        ([[YES, YES], [YES]], YES),
        ([[YES, NO], [NO]], NO),
        ([[YES, NO], [NO, YES]], OPEN),
        ([[NO, NO], [YES, YES]], NO),
        ([[YES, OPEN], [YES]], OPEN),
        ([[NO, OPEN], [YES]], OPEN),
        ([[YES], []], OPEN),
        ([[NO], []], NO),
        ([[], []], OPEN),
        ([], OPEN),
    ],
)
def test_all_support_and_one_group_contradicts(groups, word):
    assert overall(groups) is word
