"""`minaction data`: list, fetch, check."""

from __future__ import annotations

import typer

from minaction.commands.options import AsJson, DataDir, DatasetName, print_json, text_of

app = typer.Typer(help="Data sets: list, fetch, check.", no_args_is_help=True)


@app.command("list")
def data_list(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the data sets, and which of them are on this machine."""
    from minaction.data.fetch import status
    from minaction.data.sources import SOURCES

    rows = []
    for name, source in SOURCES.items():
        found = status(name, text_of(data_dir))
        where = "built in" if found.offline else str(found.folder) if found.available else None
        rows.append(
            {"name": name, "modality": source.modality, "classes": len(source.class_names),
             "shape": list(source.shape), "licence": source.licence,
             "simulated": source.simulated, "found": where}
        )  # fmt: skip
    if as_json:
        print_json(rows)
        return
    typer.echo(_columns("name", "modality", "shape", "classes", "where"))
    for row in rows:
        where = row["found"] or f"not here; `minaction data fetch {row['name']}`"
        where += ", simulated" * row["simulated"]
        shape = "x".join(map(str, row["shape"]))
        typer.echo(_columns(row["name"], row["modality"], shape, str(row["classes"]), where))


@app.command("fetch")
def data_fetch(name: DatasetName, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Download a data set if it is not here, and check it."""
    from minaction.data.fetch import fetch

    folder = fetch(name, text_of(data_dir), announce=_announce)
    if as_json:
        print_json({"name": name, "folder": None if folder is None else str(folder)})
    else:
        typer.echo(f"{name}: {folder}" if folder else f"{name}: comes with installed packages")


@app.command("check")
def data_check(name: DatasetName, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Check a data set's files against their checksums.

    Exits with 1 if a file is missing or not what it should be.
    """
    from minaction.data.fetch import check

    files = check(name, text_of(data_dir))
    rows = [{"path": str(f.path), "ok": f.ok, "problem": f.problem} for f in files]
    if as_json:
        print_json(rows)
    elif not rows:
        typer.echo(f"{name}: comes with installed packages; nothing to check")
    else:
        # Some data sets have a thousand files; what is wrong must not drown among them.
        for row in (row for row in rows if len(rows) <= 8 or not row["ok"]):
            typer.echo(f"{row['path']}: {'ok' if row['ok'] else row['problem']}")
        right = sum(row["ok"] for row in rows)
        typer.echo(f"{name}: {right} of {len(rows)} files ok")
    if not all(row["ok"] for row in rows):
        raise typer.Exit(1)


def _columns(name: str, modality: str, shape: str, classes: str, where: str) -> str:
    return f"{name:<18} {modality:<14} {shape:<12} {classes:>7}  {where}"


def _announce(line: str) -> None:
    typer.echo(line, err=True)
