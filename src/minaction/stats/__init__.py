"""Statistics: tables in, tables out; no torch and no journal."""

from minaction.stats.aggregates import (
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
)
from minaction.stats.anova import factorial_anova
from minaction.stats.association import Association, associations
from minaction.stats.assumptions import check_assumptions
from minaction.stats.costs import (
    Costs,
    Curve,
    cost_to_target,
    gain,
    median_cost,
    median_interval,
    restricted_mean,
    survival_band,
)
from minaction.stats.dominance import cliffs_delta
from minaction.stats.equivalence import (
    Equivalence,
    NonInferiority,
    equivalence_test,
    noninferiority_test,
)
from minaction.stats.intervals import (
    Interval,
    mean_interval,
    paired_difference,
    paired_ratio,
    proportion_interval,
    ratio_of_means,
)
from minaction.stats.lambda_selection import select_lambda
from minaction.stats.letters import compact_letters
from minaction.stats.pareto import hypervolume, pareto_front
from minaction.stats.pareto_membership import ParetoBootstrap, pareto_bootstrap
from minaction.stats.posthoc import games_howell, holm
from minaction.stats.standardized_difference import hedges_g
from minaction.stats.transforms import logit_error

__all__ = [
    "Association",
    "Costs",
    "Curve",
    "Equivalence",
    "Interval",
    "NonInferiority",
    "ParetoBootstrap",
    "associations",
    "check_assumptions",
    "cliffs_delta",
    "compact_letters",
    "cost_to_target",
    "equivalence_test",
    "factorial_anova",
    "gain",
    "games_howell",
    "hedges_g",
    "holm",
    "hypervolume",
    "interquartile_mean",
    "logit_error",
    "mean_interval",
    "median_cost",
    "median_interval",
    "noninferiority_test",
    "paired_difference",
    "paired_ratio",
    "pareto_bootstrap",
    "pareto_front",
    "performance_profile",
    "probability_of_improvement",
    "proportion_interval",
    "ratio_of_means",
    "restricted_mean",
    "select_lambda",
    "survival_band",
]
