"""Published factorial experiments, and how the reference values in the tests were made.

"R" in the tests is R 4.2.2 with car 3.1-1 (Anova, leveneTest), effectsize 0.8.3 (two-sided
intervals), rstatix 0.7.2 (games_howell_test) and multcompView 0.1-8, run on these data with
options(contrasts = c("contr.sum", "contr.poly")); where the same output is published, the test
names the place. effectsize searches for its limits by optimisation and meets them to 1e-3 or so.
"""

from __future__ import annotations

import numpy as np
import pandas as pd


def rows(response: str, factors: tuple[str, ...], cells: dict[tuple, list[float]]) -> pd.DataFrame:
    """One row per value, in the order given."""
    return pd.DataFrame(
        [
            dict(zip(factors, levels, strict=True)) | {response: value}
            for levels, values in cells.items()
            for value in values
        ]
    )


def tooth_growth() -> pd.DataFrame:
    """R's ToothGrowth: Crampton (1947), The Journal of Nutrition 33(5). Balanced, 2 x 3, n 60."""
    return rows(
        "len",
        ("supp", "dose"),
        {
            ("VC", 0.5): [4.2, 11.5, 7.3, 5.8, 6.4, 10.0, 11.2, 11.2, 5.2, 7.0],
            ("VC", 1.0): [16.5, 16.5, 15.2, 17.3, 22.5, 17.3, 13.6, 14.5, 18.8, 15.5],
            ("VC", 2.0): [23.6, 18.5, 33.9, 25.5, 26.4, 32.5, 26.7, 21.5, 23.3, 29.5],
            ("OJ", 0.5): [15.2, 21.5, 17.6, 9.7, 14.5, 10.0, 8.2, 9.4, 16.5, 9.7],
            ("OJ", 1.0): [19.7, 23.3, 23.6, 26.4, 20.0, 25.2, 25.8, 21.2, 14.5, 27.3],
            ("OJ", 2.0): [25.5, 26.4, 22.4, 24.5, 24.8, 30.9, 26.4, 27.3, 29.4, 23.0],
        },
    )


def moore() -> pd.DataFrame:
    """car's Moore: Moore and Krupat (1971), Sociometry 34. Unbalanced, 2 x 3, n 45."""
    return rows(
        "conformity",
        ("partner", "authoritarianism"),
        {
            ("low", "low"): [8, 7, 10, 6, 13, 12, 7, 6, 8, 12],
            ("low", "high"): [4, 8, 13, 9, 24, 7, 23, 13],
            ("low", "medium"): [12, 4, 4, 9],
            ("high", "high"): [19, 9, 7, 11, 14, 13, 10],
            ("high", "medium"): [12, 17, 14, 16, 20, 8, 14, 17, 7, 17, 15],
            ("high", "low"): [21, 23, 15, 12, 16],
        },
    )


def obrien_kaiser() -> pd.DataFrame:
    """Subjects' means of car's OBrienKaiser: O'Brien and Kaiser (1985). Unbalanced, 3 x 2, n 16."""
    sums = rows(
        "value",
        ("treatment", "gender"),
        {
            ("control", "M"): [40, 55, 90],
            ("control", "F"): [60, 70],
            ("A", "M"): [130, 110],
            ("A", "F"): [70, 65],
            ("B", "M"): [95, 70, 115],
            ("B", "F"): [100, 65, 85, 100],
        },
    )
    return sums.assign(value=sums["value"] / 15)


def warp_breaks() -> pd.DataFrame:
    """R's warpbreaks: Tukey (1977), Exploratory Data Analysis. Balanced, 2 x 3, n 54."""
    return rows(
        "breaks",
        ("wool", "tension"),
        {
            ("A", "L"): [26, 30, 54, 25, 70, 52, 51, 26, 67],
            ("A", "M"): [18, 21, 29, 17, 12, 18, 35, 30, 36],
            ("A", "H"): [36, 21, 24, 18, 10, 43, 28, 15, 26],
            ("B", "L"): [27, 14, 29, 19, 29, 31, 41, 20, 44],
            ("B", "M"): [42, 26, 19, 16, 39, 28, 21, 39, 29],
            ("B", "H"): [20, 21, 24, 17, 13, 15, 15, 16, 28],
        },
    )


def peas() -> pd.DataFrame:
    """R's npk: Venables and Ripley (2002), chapter 6. 2 x 2 x 2 in six blocks of four, n 24."""
    digits = """
        011 110 000 101 100 111 001 010 010 111 100 001
        100 111 001 010 110 000 101 011 101 110 011 000"""
    yields = """
        49.5 62.8 46.8 57.0 59.8 58.5 55.5 56.0 62.8 55.8 69.5 55.0
        62.0 48.8 45.5 44.2 52.0 51.5 49.8 48.8 57.2 59.0 53.2 56.0"""
    plots = pd.DataFrame([list(plot) for plot in digits.split()], columns=["N", "P", "K"])
    return plots.assign(block=np.repeat(range(1, 7), 4), pounds=list(map(float, yields.split())))


def kidney() -> pd.DataFrame:
    """Days in hospital, Neter, Kutner, Nachtsheim and Wasserman (1996), less the first three rows.

    As in the tests of statsmodels, which give R's results for it. Unbalanced, 2 x 3, n 57.
    """
    days = rows(
        "days",
        ("duration", "weight"),
        {
            (1, 1): [3, 0, 2, 0, 5, 6, 8],
            (1, 2): [2, 4, 7, 12, 15, 4, 3, 1, 5, 20],
            (1, 3): [15, 10, 8, 5, 25, 16, 7, 30, 3, 27],
            (2, 1): [0, 1, 1, 0, 4, 2, 7, 4, 0, 3],
            (2, 2): [5, 3, 2, 0, 1, 1, 3, 6, 7, 9],
            (2, 3): [10, 8, 12, 3, 7, 15, 4, 9, 6, 1],
        },
    )
    return days.assign(log_days=np.log1p(days["days"]))


def cars() -> pd.DataFrame:
    """Weights in R's mtcars by cylinders and gearbox: Henderson and Velleman (1981). n 32."""
    return rows(
        "wt",
        ("cyl", "am"),
        {
            (4, 0): [3.19, 3.15, 2.465],
            (4, 1): [2.32, 2.2, 1.615, 1.835, 1.935, 2.14, 1.513, 2.78],
            (6, 0): [3.215, 3.46, 3.44, 3.44],
            (6, 1): [2.62, 2.875, 2.77],
            (8, 0): [
                *(3.44, 3.57, 4.07, 3.73, 3.78, 5.25),
                *(5.424, 5.345, 3.52, 3.435, 3.84, 3.845),
            ],
            (8, 1): [3.17, 3.57],
        },
    )
