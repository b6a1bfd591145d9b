from __future__ import annotations

import pytest

from minaction.report import formatting as write

M = write.MINUS


@pytest.mark.parametrize(
    ("write_it", "value", "text"),
    [
        (write.number, 5918.4, "5,918"),
        (write.number, 1234567.0, "1,234,567"),
        (write.number, 142.04, "142.0"),
        (write.number, 23.508, "23.51"),
        (write.number, 4.9134, "4.913"),
        (write.number, 0.08321, "0.0832"),
        (write.number, 0.0000120, "1.20e-5"),
        (write.number, 0.0, "0"),
        (write.number, -3.14159, f"{M}3.142"),
        (write.number, -1.2e-7, f"{M}1.20e-7"),
        (write.percent, 100.0, "100 %"),
        (write.percent, 1234.5, "1,234 %"),
        (write.percent, 14.52, "14.5 %"),
        (write.percent, 2.414, "2.41 %"),
        (write.percent, 0.39, "0.390 %"),
        (write.percent, 0.0, "0 %"),
        (write.fold, 1202.7, "1,203x"),
        (write.fold, 41.27, "41.3x"),
        (write.fold, 0.5, "0.50x"),
        (write.fold, 9.994, "9.99x"),
        (write.fold, 9.996, "10.0x"),
        (write.fold, 99.96, "100x"),
        (write.fold, 0.001, "0.00100x"),
        (write.accuracy, 0.98974, "98.97 %"),
        (write.points, -0.371, f"{M}0.37 pp"),
        (write.points, 0.12, "+0.12 pp"),
        (write.points, -0.0004, "0.00 pp"),
        (write.fraction, 0.705, "70.5 %"),
        (write.p_value, 0.0004, "< 0.001"),
        (write.p_value, 0.0451, "0.045"),
        (write.lam, 0.0, "0"),
        (write.lam, 0.01, "1e-2"),
        (write.lam, 1e-5, "1e-5"),
        (write.lam, 2.5e-5, "2.5e-5"),
        (write.lam, 0.001, "1e-3"),
        (write.lam, 100.0, "1e2"),
        (write.lam, 1e6, "1e6"),
        (write.lam, "budget", "budget"),
        (write.lam_found, 0.0031623, "3.16e-3"),
        (write.lam_found, 0.0, "0"),
        (write.margin, 0.005, "0.5 pp"),
        (write.margin, 0.0005, "0.05 pp"),
        (write.margin, 0.1, "10 pp"),
        (write.percent, -4.5, f"{M}4.50 %"),
        (write.duration, 41.23, "41.2 s"),
        (write.duration, 200.0, "3 min 20 s"),
        (write.duration, 7505.0, "2 h 5 min"),
        (write.count, 2203, "2,203"),
    ],
)
def test_written(write_it, value, text):
    assert write_it(value) == text


def test_two_lambdas_are_never_written_alike():
    lams = [1.23456e-5, 1.23457e-5, 0.001234567, 0.0012345]
    assert len({write.lam(lam) for lam in lams}) == len(lams)


def test_bounds_say_why_there_are_none():
    single = {"n": 1, "estimate": 3.0, "low": None, "high": None}
    assert write.bounds(single, write.number) == "1 seed, no interval"
    pair = {"n": 2, "estimate": 3.0, "low": -1.0, "high": 7.0}
    assert write.bounds(pair, write.number) == f"{M}1.000 to 7.000"


@pytest.mark.parametrize(
    ("write_it", "text"),
    [
        (write.percent, "1.50 to 20.0 %"),
        (write.points, "+1.50 to +20.00 pp"),
        (write.fold, "1.50 to 20.0x"),
        (write.number, "1.500 to 20.00"),
    ],
)
def test_bounds_have_their_unit_once(write_it, text):
    assert write.bounds({"n": 3, "low": 1.5, "high": 20.0}, write_it) == text


def test_a_missing_number_is_a_dash():
    assert write.optional(None, write.number) == write.ABSENT
