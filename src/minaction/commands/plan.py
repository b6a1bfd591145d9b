"""`minaction study plan`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minaction.commands.options import AsJson, DataDir, print_json, text_of
from minaction.errors import StoppedError

if TYPE_CHECKING:
    from minaction.study.plan import Plan, StackedCost

SHOWN_KINDS = 8


def study_plan(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="A study file (TOML).")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Say what a study will take, before it is run.

    A few short runs, and stacks of runs trained as one (--fleet), are tried in a scratch folder;
    nothing of the study is started or stored.
    """
    from minaction.study.plan import plan_study
    from minaction.study.read_study import load_study

    study = load_study(spec)
    try:
        plan = plan_study(study, _note, data_dir=text_of(data_dir))
    except KeyboardInterrupt:
        raise StoppedError("stopped; nothing of the study was started") from None
    if as_json:
        print_json(plan.to_dict())
        return
    for line in plan_lines(plan):
        typer.echo(line)


def plan_lines(plan: Plan) -> list[str]:
    """Return a plan as lines of text."""
    from minaction.progress import duration
    from minaction.study.choose_execution import describe_execution

    lines = [
        f"{plan.name}: {plan.runs:,} runs, {describe_execution(plan.execution)}",
        f"pilot: {plan.pilot_runs} short runs, {duration(plan.pilot_seconds)}, "
        f"{plan.pilot_share:.1%} of the study on this machine",
        "",
        f"{'cores':>5}  {'time':>9}  {'core hours':>10}  {'memory':>9}",
    ]
    for cost in plan.costs:
        lines.append(
            f"{cost.cores:>5}  {duration(cost.seconds):>9}  {cost.core_hours:>10.2f}  "
            f"{_bytes(cost.memory_bytes):>9}{'' if cost.measured else '  extrapolated'}"
        )
    lines += ["", *_stacked_lines(plan.stacked)]
    lines += ["", f"journal: {_bytes(plan.journal_bytes)}", "a run takes"]
    for cost in plan.kinds[:SHOWN_KINDS]:
        kind = cost.kind
        what = f"{kind['model']} on {kind['dataset']}, {kind['energy']}"
        what += "" if kind["penalised"] else " at lambda 0"
        lines.append(
            f"  {cost.seconds:>8.2f} s  {cost.runs:>7,}x {what}, batches of {kind['batch_size']}, "
            f"{kind['parameters']:,} parameters{'' if cost.piloted else ' (as others tried)'}"
        )
    if len(plan.kinds) > SHOWN_KINDS:
        lines.append(f"  and {len(plan.kinds) - SHOWN_KINDS} more kinds; --json has all")
    return lines


def _stacked_lines(stacked: StackedCost) -> list[str]:
    """Return what training runs as one would change, and where."""
    from minaction.progress import duration

    lines = [] if stacked.gpu else ["GPU: no CUDA GPU here to measure on"]
    if stacked.seconds is None:  # slower, impossible, not asked for, or too short to be tried
        lines.append("stacks (--fleet auto): none, runs are trained one at a time")
    else:
        where = f"on all cores and one {stacked.gpu}" if stacked.gpu else "on all cores"
        lines.append(f"stacks (--fleet auto): {duration(stacked.seconds)} {where}")
    for kind, size in stacked.sizes.items():
        lines.append(
            f"  {kind}: {size} at a time, {stacked.step_ratios[kind]:.2g} of the time a step"
        )
    lines += [f"  {kind}: one at a time ({why})" for kind, why in stacked.not_stacked.items()]
    return lines


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"
