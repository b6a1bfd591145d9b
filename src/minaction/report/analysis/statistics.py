"""The tests, effect sizes and verdicts of a study: what the analysis and the page both say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from minaction.report.analysis.architecture import architecture_verdict
from minaction.report.analysis.cautions import cautions
from minaction.report.analysis.crossing import Crossing, find_crossing, levels_of
from minaction.report.analysis.efficiency_gains import efficiency_verdict
from minaction.report.analysis.energy import energy_verdict
from minaction.report.analysis.factorial import BLOCKS, SS_TYPE, factorial_tables
from minaction.report.analysis.gains import training_efficiency
from minaction.report.analysis.posthoc import letter_displays
from minaction.report.analysis.proxies import proxy_fidelity
from minaction.study.journal import Record
from minaction.study.measurements import Measurement
from minaction.study.study_file import Study


def statistics(
    study: Study,
    frame: pd.DataFrame,
    planned: Sequence[Record],
    known: Mapping[str, Any],
    measurements: Sequence[Measurement] = (),
) -> dict[str, Any]:
    """Return what tests and intervals say of a study.

    Args:
        study: The study file, frozen.
        frame: From `run_frame`.
        planned: The records behind it, sorted by run id.
        known: What has been computed of the same runs: `counts`, `lambda_tables`,
            `outside_design` and `provenance`.
        measurements: What networks were measured to cost.

    Returns:
        `findings`, the verdicts on the reference study's three; `warnings`, sentences; `crossing`,
        which runs the factorial tables are made of; `factorial`, see `factorial_tables`;
        `efficiency`, see `training_efficiency`; `posthoc`, see `letter_displays`; and `proxies`,
        see `proxy_fidelity`, where networks were measured.
    """
    crossing = find_crossing(study, frame)
    found = {
        "crossing": crossing_summary(crossing),
        "factorial": factorial_tables(crossing),
        "efficiency": training_efficiency(study, frame, planned),
        "posthoc": letter_displays(frame.loc[frame["lam"].isin(list(study.factors.lam)), :]),
    }
    if measurements:
        found["proxies"] = proxy_fidelity(planned, measurements)
    verdicts = (
        architecture_verdict(study, found["factorial"]),
        energy_verdict(study, known["lambda_tables"]),
        efficiency_verdict(study, found["efficiency"]),
    )
    return {
        "findings": [verdict.to_dict() for verdict in verdicts],
        "warnings": cautions({**known, **found}, crossing, known["provenance"]),
        **found,
    }


def crossing_summary(crossing: Crossing) -> dict[str, Any]:
    """Return what the factorial tables are made of."""
    used = crossing.used
    return {
        "runs": len(used),
        "levels": {name: levels_of(used, name) for name in crossing.factors},
        "only": crossing.only,
        "left_out": crossing.left_out,
        "blocks": BLOCKS,
        "ss_type": SS_TYPE,
        "reason": crossing.reason,
    }
