"""`minaction env`."""

from __future__ import annotations

import typer

from minaction.commands.options import AsJson, print_json


def env(as_json: AsJson = False) -> None:
    """Say what this machine is and what can be measured on it."""
    from minaction.measure.machine import describe_machine

    facts = describe_machine()
    if as_json:
        print_json(facts)
        return
    for name, version in facts["versions"].items():
        typer.echo(f"{name:<22} {version}")
    for name in ("platform", "cpu", "cpus"):
        typer.echo(f"{name:<22} {facts[name]}")
    for ability in facts["abilities"]:
        typer.echo(
            f"{ability['name']:<22} {'yes' if ability['available'] else 'no '}  {ability['detail']}"
        )
