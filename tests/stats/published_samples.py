"""Data of published examples, and samples of given mean and standard deviation."""

from __future__ import annotations

import numpy as np

# Student (1908), The probable error of a mean, Biometrika 6(1); R's data set `sleep`
SLEEP_1 = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
SLEEP_2 = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])

# Henderson and Velleman (1981), Biometrics 37; R's data set `mtcars`: by transmission, automatic
# and manual, miles per gallon and weight
MPG_AUTOMATIC = np.array(
    [
        *(21.4, 18.7, 18.1, 14.3, 24.4, 22.8, 19.2, 17.8, 16.4, 17.3),
        *(15.2, 10.4, 10.4, 14.7, 21.5, 15.5, 15.2, 13.3, 19.2),
    ]
)
MPG_MANUAL = np.array(
    [21.0, 21.0, 22.8, 32.4, 30.4, 33.9, 27.3, 26.0, 30.4, 15.8, 19.7, 15.0, 21.4]
)
WEIGHT_AUTOMATIC = np.array(
    [
        *(3.215, 3.44, 3.46, 3.57, 3.19, 3.15, 3.44, 3.44, 4.07, 3.73),
        *(3.78, 5.25, 5.424, 5.345, 2.465, 3.52, 3.435, 3.84, 3.845),
    ]
)
WEIGHT_MANUAL = np.array(
    [2.62, 2.875, 2.32, 2.2, 1.615, 1.835, 1.935, 2.14, 1.513, 3.17, 2.77, 3.57, 2.78]
)


def sample_of(n: int, mean: float, deviation: float) -> np.ndarray:
    """A sample of exactly this mean and standard deviation, which are all a t test looks at."""
    ramp = np.arange(n) - (n - 1) / 2
    return mean + deviation * ramp / ramp.std(ddof=1)
