from __future__ import annotations

import numpy as np

from minaction.data.physiology import heart_rate, second_means, standardised


def test_second_means_leave_out_the_last_part_of_a_second():
    assert second_means(np.arange(11), 4).tolist() == [1.5, 5.5]


def test_heart_rate_follows_the_beats():
    slow, fast = np.arange(0, 30, 1.0), np.arange(30, 60, 0.5)
    rate = heart_rate(np.concatenate([slow, fast]), 60)
    assert rate is not None
    assert rate[:29].tolist() == [60] * 29
    np.testing.assert_allclose(rate[31:], 120)


def test_a_missed_beat_and_one_too_many_change_nothing():
    beats = np.arange(0, 60, 0.9)
    rate = heart_rate(beats, 60)
    wrong = np.sort(np.append(np.delete(beats, [30, 31]), 10.05))
    found = heart_rate(wrong, 60)
    assert rate is not None
    assert found is not None
    # The rest of the split interval is short, not impossible.
    away = np.abs(np.arange(60) + 0.5 - 10.5) > 2
    np.testing.assert_allclose(found[away], rate[away])


def test_no_heart_rate_without_beats():
    for beats in (np.array([]), np.array([1.0, 2.0]), np.array([0.0, 10.0, 20.0, 30.0])):
        assert heart_rate(beats, 60) is None


def test_standardised_channels_and_one_that_never_changes():
    signal = np.column_stack([np.arange(10.0), np.full(10, 3.0)])
    found = standardised(signal)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(found.std(0), [1, 0])
