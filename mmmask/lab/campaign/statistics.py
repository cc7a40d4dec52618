"""Means over seeds, with intervals."""

from collections.abc import Sequence
from statistics import mean, stdev
from typing import NamedTuple

from scipy import stats

LEVEL = 0.95


class Estimate(NamedTuple):
    """A mean over seeds, and half the width of its interval; None with a single seed."""

    mean: float
    half_width: float | None

    def __str__(self) -> str:
        if self.half_width is None:
            return f'{self.mean:.1f}'
        return f'{self.mean:.1f} ± {self.half_width:.1f}'


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and 95 % interval by Student's t distribution, which assumes normal values."""
    if len(values) < 2:
        return Estimate(mean(values), None)
    quantile = stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)
    return Estimate(mean(values), quantile * stdev(values) / len(values) ** 0.5)


class Difference(NamedTuple):
    """The mean difference of paired values, its interval, and the p-value of no difference."""

    estimate: Estimate
    p_value: float | None

    def __str__(self) -> str:
        if self.p_value is None:
            return str(self.estimate)
        return f'{self.estimate} (p = {self.p_value:.2g})'


def paired_difference(values: Sequence[float], others: Sequence[float]) -> Difference:
    """Values minus others of the same seeds, by the paired t-test.

    Raises:
        ValueError: if the lengths differ.
    """
    differences = [a - b for a, b in zip(values, others, strict=True)]
    result = estimate(differences)
    if len(differences) < 2 or len(set(differences)) == 1:
        return Difference(result, None)
    return Difference(result, float(stats.ttest_rel(values, others).pvalue))
