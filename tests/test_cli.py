"""The command line: what it prints and where, its exit codes, and that no input breaks it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import minaction
from minaction.cli import main
from minaction.data.fetch import DATA_VARIABLE
from minaction.data.sources import SOURCES
from minaction.report.summary import lambda_summary
from minaction.study.activity import announced
from minaction.study.design import run_id, runs
from minaction.study.directory import open_study_directory
from minaction.study.journal import JOURNAL_NAME, Journal, Record, RunStatus, latest_records
from minaction.study.read_study import load_study

STUDY = """
[study]
name = "tiny"
seeds = 2
[factors]
dataset = "digits"
model = "mlp"
lam = [0, 1e-3]
[train]
epochs = {epochs}
batch_size = {batch_size}
parameters = 5_000
[execution]
precision = "float32"
compile = false
channels_last = false
"""
COMMANDS = [
    [],
    ["env"],
    ["data"],
    ["data", "list"],
    ["data", "fetch"],
    ["data", "check"],
    ["quickstart"],
    ["search"],
    ["study"],
    ["study", "plan"],
    ["study", "run"],
    ["study", "status"],
    ["study", "verify"],
    ["study", "export"],
    ["study", "merge"],
    ["analyse"],
    ["report"],
]
READERS = [["study", "status"], ["study", "verify"], ["study", "export"], ["analyse"], ["report"]]
PROGRAM = [sys.executable, "-m", "minaction"]


@pytest.fixture
def cli(capsys):
    """Run the command line in this process: exit code, standard output, standard error."""
    handlers = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)}

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        return (left.value.code, *capsys.readouterr())

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def refused(cli):
    """Run what must be refused: exit code 2, nothing on standard output; return the one line."""

    def run(*arguments):
        code, out, err = cli(*arguments)
        assert (code, out) == (2, "")
        return one_line(err)

    return run


def one_line(err):
    assert err.startswith("minaction: ")
    assert err.count("\n") == 1
    assert err.strip().isprintable()
    return err.removeprefix("minaction: ").rstrip("\n")


def write_study(folder, epochs=1, batch_size=64):
    path = folder / "tiny.toml"
    path.write_text(STUDY.format(epochs=epochs, batch_size=batch_size))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study that was run, as a user would: its directory and what the command wrote."""
    folder = tmp_path_factory.mktemp("finished")
    command = [*PROGRAM, "study", "run", write_study(folder), "--out", "out", "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "out", done


@pytest.fixture
def directory(finished, tmp_path):
    """A copy of the finished study, to be tampered with."""
    return Path(shutil.copytree(finished[0], tmp_path / "study"))


# --- help, version, wrong use ---


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help(cli, command):
    code, out, err = cli(*command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith("Usage: minaction")
    assert (code, out, err) == cli(*command, "-h")
    assert max(map(len, out.splitlines())) <= 80
    assert "..." not in out.replace("[ARGS]...", "").replace("{DIR}...", "")  # no sentence is cut


def test_version(cli):
    assert cli("--version") == (0, f"minaction {minaction.__version__}\n", "")


@pytest.mark.parametrize("group", [[], ["data"], ["study"]])
def test_no_command_shows_the_help(cli, group):
    _, usage, _ = cli(*group, "--help")
    code, out, err = cli(*group)
    assert (code, out) == (2, "")
    assert err.strip() == usage.strip()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stdy"], "Did you mean 'study'"),
        (["study", "verfy"], "Did you mean 'verify'"),
        (["nonsense"], "No such command 'nonsense'"),
        (["--frobnicate"], "No such option: --frobnicate"),
        (["env", "--jsn"], "--json"),
        (["env", "extra"], "unexpected extra argument"),
        (["study", "status"], "Missing argument 'DIR' (see `minaction study status --help`)"),
        (["study", "run"], "Missing argument 'SPEC'"),
        (["study", "run", "x.toml", "--out", "o", "--rotate", "0"], "'--rotate'"),
        (["study", "plan"], "Missing argument 'SPEC'"),
        (["study", "status", "x", "--watch", "--every", "0"], "'--every'"),
        (["study", "merge", "--out", "o"], "Missing argument 'DIR"),
        (["study", "merge", "a", "b"], "Missing option '--out'"),
        (["study", "run", "x.toml"], "Missing option '--out'"),
        (["study", "run", "x.toml", "--out", "o", "--workers", "0"], "'--workers'"),
        (["study", "run", "x.toml", "--out", "o", "--workers", "many"], "'--workers'"),
        (["study", "export", "d", "--to", "xml"], "'json', 'csv'"),
        (["quickstart", "--out"], "'--out'"),
    ],
)
def test_wrong_use(refused, arguments, said):
    assert said in refused(*arguments)


def test_neither_help_nor_errors_nor_finished_studies_need_torch(finished, tmp_path):
    directory, _ = finished
    bad = tmp_path / "bad.toml"
    bad.write_text("[study]\nname = 'x'\nseeds = 0\n")
    commands = [[*command, "--help"] for command in COMMANDS]
    commands += [["stdy"], ["env", "--jsn"], ["data", "list"], ["data", "fetch", "mnits"]]
    commands += [["env", "--json"], ["study", "run", str(bad), "--out", str(tmp_path / "no")]]
    commands += [[*reader, str(tmp_path)] for reader in READERS]
    commands += [[*reader, str(directory)] for reader in READERS[:3]]
    commands += [["report", str(directory), "-o", str(tmp_path / "page.html")]]
    code = (
        "import json, sys\n"
        "from minaction.cli import main\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    try:\n"
        "        main(command)\n"
        "    except SystemExit:\n"
        "        assert 'torch' not in sys.modules, command\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(commands)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_the_help_of_a_study_holds_a_study_file(cli, tmp_path):
    code, out, _ = cli("study", "run", "--help")
    assert code == 0
    shown = out[out.index("  [study]") : out.index("\n\n", out.index("[factors]"))]
    (tmp_path / "study.toml").write_text(shown)
    assert load_study(tmp_path / "study.toml").run_count == 60


def test_help_imports_little():
    """Rich, pydantic and whatever else takes time wait until a command needs them."""
    code = (
        "import sys\n"
        "from minaction.cli import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "except SystemExit:\n"
        "    heavy = {'torch', 'numpy', 'pandas', 'rich', 'pydantic', 'pooch'} & set(sys.modules)\n"
        "    assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# --- the installed program ---


@pytest.mark.parametrize("program", [PROGRAM, [str(Path(sys.executable).with_name("minaction"))]])
def test_as_a_program(program):
    done = subprocess.run([*program, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"minaction {minaction.__version__}\n")
    done = subprocess.run([*program, "study", "status", "/nowhere"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "/nowhere: no such directory" in one_line(done.stderr)


@pytest.mark.parametrize("arguments", [["--help"], ["data", "list"], ["study", "export"]])
def test_a_reader_who_leaves(finished, arguments):
    directory = [str(finished[0])] if arguments[0] == "study" else []
    process = subprocess.Popen(
        [*PROGRAM, *arguments, *directory], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 1


def test_an_error_nobody_foresaw_is_one_line_too(cli, monkeypatch):
    def fail():
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("minaction.measure.machine.describe_machine", fail)
    code, out, err = cli("env")
    assert (code, out) == (1, "")
    assert one_line(err).startswith("unexpected RuntimeError: two lines (test_cli.py, line ")
    assert "please report it with what MINACTION_TRACEBACK=1 shows" in err
    monkeypatch.setenv("MINACTION_TRACEBACK", "1")
    with pytest.raises(RuntimeError, match="two"):
        main(["env"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [["--help"], ["data", "list"]])
def test_a_full_disk_for_the_output(arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*PROGRAM, *arguments], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert one_line(done.stderr) == "standard output: No space left on device"


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("utf-8", "gr\u00f6\u00dfe\u2014\\udcff".encode()), ("latin-1", b"gr\xf6\xdfe\\u2014\\udcff")],
)
def test_any_name_can_be_printed_in_any_encoding(tmp_path, encoding, shown):
    folder = tmp_path / "gr\u00f6\u00dfe\u2014\udcff" / "mnist"
    folder.mkdir(parents=True)
    for file in SOURCES["mnist"].files:
        (folder / file.name).touch()
    done = subprocess.run(
        [*PROGRAM, "data", "list", "--data-dir", folder.parent],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert shown in done.stdout


# --- env, data ---


def test_env(cli):
    code, out, err = cli("env", "--json")
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert facts["versions"]["minaction"] == minaction.__version__
    assert facts["cpus"] >= 1
    assert {"name", "available", "detail"} == set(facts["abilities"][0])
    code, out, err = cli("env")
    assert (code, err) == (0, "")
    for ability in facts["abilities"]:
        assert re.search(rf"^{re.escape(ability['name'])} +(yes|no)", out, re.MULTILINE)


@pytest.fixture
def no_data(tmp_path, monkeypatch):
    """No data set on this machine but the built-in ones."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(DATA_VARIABLE, raising=False)


@pytest.fixture
def damaged(tmp_path, no_data):
    """A folder with all four files of MNIST, none of them right."""
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    for file in SOURCES["mnist"].files:
        (folder / file.name).write_bytes(b"junk")
    return folder


def test_data_list(cli, no_data):
    code, out, err = cli("data", "list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert (code, err) == (0, "")
    assert rows.keys() == SOURCES.keys()
    assert rows["digits"]["found"] == "built in"
    assert [name for name, row in rows.items() if row["simulated"]] == [
        *("saccade-digits", "simulated-stress"),
    ]
    assert rows["mnist"]["found"] is None
    assert rows["mnist"]["shape"] == [1, 28, 28]
    code, out, err = cli("data", "list")
    assert (code, err) == (0, "")
    header, *lines = out.splitlines()
    assert header.split() == ["name", "modality", "shape", "classes", "where"]
    assert [line.split()[0] for line in lines] == list(SOURCES)
    (mnist,) = (line for line in lines if line.startswith("mnist "))
    for column, value in (("modality", "vision"), ("shape", "1x28x28"), ("where", "not here")):
        assert mnist.index(value) == header.index(column)
    assert mnist[: header.index("where")].split()[-1] == "10"
    assert "minaction data fetch mnist" in out
    simulated = [line for line in lines if line.endswith("built in, simulated")]
    assert [line.split()[0] for line in simulated] == ["saccade-digits", "simulated-stress"]


def test_data_list_says_where(cli, damaged):
    _, out, _ = cli("data", "list", "--json", "--data-dir", damaged.parent)
    assert {row["name"]: row["found"] for row in json.loads(out)}["mnist"] == str(damaged)


def test_built_in_data(cli):
    assert cli("data", "fetch", "digits") == (0, "digits: comes with installed packages\n", "")
    code, out, _ = cli("data", "fetch", "digits", "--json")
    assert (code, json.loads(out)) == (0, {"name": "digits", "folder": None})
    assert cli("data", "check", "digits")[0] == 0
    code, out, _ = cli("data", "check", "digits", "--json")
    assert (code, json.loads(out)) == (0, [])


@pytest.mark.parametrize("command", ["fetch", "check"])
def test_unknown_data_set(refused, command):
    assert refused("data", command, "mnits") == "unknown data set 'mnits'; did you mean 'mnist'?"


def test_damaged_data(cli, refused, damaged):
    root = ["--data-dir", damaged.parent]
    assert "has 4 bytes, expected" in refused("data", "fetch", "mnist", *root)
    code, out, err = cli("data", "check", "mnist", *root)
    assert (code, err) == (1, "")
    assert out.count("has 4 bytes, expected") == 4
    code, out, err = cli("data", "check", "mnist", *root, "--json")
    assert (code, err) == (1, "")
    assert [row["ok"] for row in json.loads(out)] == [False] * 4
    assert [Path(row["path"]).parent for row in json.loads(out)] == [damaged] * 4


def test_missing_data_is_named_with_the_command_that_gets_it(cli, no_data):
    code, out, err = cli("data", "check", "mnist")
    assert (code, err) == (1, "")
    assert out.count("missing; run `minaction data fetch mnist`") == 4


def test_a_study_of_damaged_data_writes_nothing(refused, damaged, tmp_path):
    spec = tmp_path / "study.toml"
    spec.write_text(STUDY.format(epochs=1, batch_size=64).replace('"digits"', '"mnist"'))
    out = tmp_path / "out"
    said = refused("study", "run", spec, "--out", out, "--data-dir", damaged.parent)
    assert str(damaged) in said
    assert not out.exists()


# --- study run ---


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seeds = 2", "seeds = ", "line 4"),
        ("seeds = 2", "seeds = 0", "[study] seeds: is 0"),
        ("epochs = 1", "epcohs = 1", "'epochs'"),
        ('"digits"', '"digit"', "'digits'"),
        ('"mlp"', '"mpl"', "'mlp'"),
        ('"mlp"', '"mlp"\nenergy = ["activatoin"]', "'activation'"),
        ("[0, 1e-3]", "[]", "lam"),
        ("[0, 1e-3]", "[0, -1]", "lam"),
        ("[0, 1e-3]", "[nan]", "lam"),
        ("[execution]", "[analysis]\nmargin = 1.0\n[execution]", "margin"),
        ("[train]", "[trian]", "train"),
    ],
)
def test_a_bad_study_file(refused, tmp_path, old, new, said):
    spec, out = tmp_path / "bad.toml", tmp_path / "out"
    text = STUDY.format(epochs=1, batch_size=64)
    assert old in text
    spec.write_text(text.replace(old, new))
    line = refused("study", "run", spec, "--out", out)
    assert line.startswith(str(spec))
    assert said in line
    assert list(tmp_path.iterdir()) == [spec]


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b"[" * 10_000], ids=repr)
def test_what_is_no_study_file(refused, tmp_path, content):
    spec = tmp_path / "bad.toml"
    if content is not None:
        spec.write_bytes(content)
    assert str(spec) in refused("study", "run", spec, "--out", tmp_path / "out")
    assert str(tmp_path) in refused("study", "run", tmp_path, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_output_directory_that_is_taken(refused, tmp_path, directory):
    spec = write_study(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    assert "is a file" in refused("study", "run", spec, "--out", tmp_path / "file")
    assert "thesis.tex" in refused("study", "run", spec, "--out", tmp_path / "full")
    other = write_study(tmp_path / "full", epochs=7)
    assert "holds another study" in refused("study", "run", other, "--out", directory)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_ends_with_its_report(finished):
    directory, done = finished
    lines = done.stdout.splitlines()
    assert lines[:-1] == lambda_summary(directory)
    assert lines[0] == "All 4 runs are done (4 ok)."
    assert lines[-1] == "report: out/report.html"
    assert (directory / "report.html").is_file()
    assert [r.status for r in latest_records(directory)] == [RunStatus.OK] * 4


def test_progress_is_plain_lines_where_there_is_no_terminal(finished):
    lines = finished[1].stderr.splitlines()
    assert lines[0] == "4 runs, 0 of them done before"
    assert lines[1].startswith("execution: float32")
    assert re.fullmatch(r"4/4 runs( .*)?", lines[-1])
    assert finished[1].stderr.replace("\n", "").isprintable()


def test_a_finished_study_is_not_run_again(cli, directory, tmp_path):
    journal = (directory / JOURNAL_NAME).read_bytes()
    code, out, err = cli("study", "run", write_study(tmp_path), "--out", directory)
    assert code == 0
    assert out.endswith(f"\nreport: {directory / 'report.html'}\n")
    assert err == "4 runs, 4 of them done before\n"
    assert (directory / JOURNAL_NAME).read_bytes() == journal


def test_a_part_of_a_study(cli, directory, tmp_path):
    code, _, err = cli("study", "run", write_study(tmp_path), "--out", directory, "--part", "2/2")
    assert code == 0
    assert err == "part 2/2: 2 of 4 runs\n2 runs, 2 of them done before\n"


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("half", 'no part of a study: "half"; give K/N, such as 2/4'),
        ("3/2", "there is no part 3/2 of a study; give K/N, K from 1 to N"),
        ("1/5", "part 1/5: the 4 runs of tiny make 4 parts at most"),
    ],
)
def test_a_part_that_there_is_not(refused, tmp_path, part, said):
    spec, out = write_study(tmp_path), tmp_path / "out"
    assert refused("study", "run", spec, "--out", out, "--part", part) == said
    assert not out.exists()


def test_a_study_that_cannot_be_run_is_refused_before_its_first_run(cli, tmp_path):
    out = tmp_path / "out"
    spec = write_study(tmp_path, batch_size=100_000)
    code, shown, err = cli("study", "run", spec, "--out", out, "--workers", "1")
    assert (code, shown) == (2, "")
    said = one_line(f"{err.splitlines()[-1]}\n")
    assert re.fullmatch(r"tiny: digits: batch_size is 100000, but .* choose a smaller batch", said)
    assert not out.exists()


@pytest.mark.parametrize(
    "number",
    [  # the first two also end the studies of tests/study/test_faults.py
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        signal.SIGHUP,
    ],
)
def test_a_stopped_run_says_how_to_go_on(tmp_path, number):
    command = [*PROGRAM, "study", "run", write_study(tmp_path, epochs=10_000), "--out", "out"]
    process = subprocess.Popen(
        [*command, "--workers", "1"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr.readline().startswith("4 runs")
    process.send_signal(number)
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 130
    assert "Traceback" not in rest
    assert "stopped; finished runs are kept in out" in rest.splitlines()[-1]


# --- status, verify, export, analyse, report ---


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_no_study_there(refused, tmp_path, command):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file.txt").write_text("mine")
    for name in ("missing", "other", "other/file.txt"):
        said = refused(*command, tmp_path / name)
        assert said.startswith(str(tmp_path / name))
    assert [path.name for path in tmp_path.rglob("*")] == ["other", "file.txt"]


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_a_corrupt_journal_is_named_with_its_line(refused, directory, command):
    path = directory / JOURNAL_NAME
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + '{"schema": 1, "run_id"\n' + "".join(lines[1:]))
    said = refused(*command, directory)
    assert str(path) in said
    assert re.search(r"\b(line )?2\b", said)


def test_status(cli, directory):
    code, out, err = cli("study", "status", directory)
    assert (code, err) == (0, "")
    assert out.splitlines() == ["tiny: 4 of 4 runs done", "  ok         4"]
    code, out, _ = cli("study", "status", directory, "--json")
    assert code == 0
    assert json.loads(out) == {
        "name": "tiny",
        "total": 4,
        "done": 4,
        "by_status": {"ok": 4},
        "errors": {},
        "repeated": {},
        "running": 0,
        "runs_per_hour": None,
        "seconds_left": None,
    }


def repeat_first_line(directory):
    """Add a journal's first line again at its end; return the run it is of."""
    path = directory / JOURNAL_NAME
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[0]]))
    return json.loads(lines[0])["run_id"]


def test_status_warns_of_a_run_that_is_finished_twice_and_counts_it_once(cli, directory):
    name = repeat_first_line(directory)
    code, out, err = cli("study", "status", directory)
    assert code == 0
    assert out.splitlines() == ["tiny: 4 of 4 runs done", "  ok         4"]
    assert err.startswith(f"warning: run {name} is finished in lines 1, 5 of the journal; ")
    assert json.loads(cli("study", "status", directory, "--json")[1])["repeated"] == {name: [1, 5]}


def test_verify_finds_a_run_that_is_finished_twice(cli, directory):
    name = repeat_first_line(directory)
    code, out, err = cli("study", "verify", directory)
    assert (code, out) == (1, "")
    *warnings, said = err.splitlines(keepends=True)
    assert all(line.startswith("warning: ") for line in warnings)
    assert f"journal: {name} finished in: found 'lines 1 and 5', expected 'one line'" in one_line(
        said
    )


def test_analyse(cli, directory):
    code, out, err = cli("analyse", directory)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "tiny: All 4 runs are done (4 ok)."
    assert "1. NOT TESTED BY THIS STUDY: architecture alone" in out
    assert "Analysis of variance of the test accuracy: 2 lam" in out
    code, out, err = cli("analyse", directory, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found["schema"] == 1
    assert [row["effect"] for row in found["factorial"][0]["rows"]] == ["lam", "seed", "Residual"]


def test_analyse_of_a_study_half_done(cli, directory):
    path = directory / JOURNAL_NAME
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    code, out, err = cli("analyse", directory)
    assert (code, err) == (0, "")
    assert "2 not run yet: every number below is provisional." in out


def test_a_share_beyond_1_is_named_with_file_and_run(refused, directory):
    path = directory / JOURNAL_NAME
    first, *rest = path.read_text().splitlines()
    record = json.loads(first)
    record["metrics"]["test_accuracy"] = 1.5
    path.write_text("\n".join([json.dumps(record), *rest, ""]))
    said = refused("analyse", directory)
    assert said.startswith(f"{path}: run {record['run_id']}: test_accuracy is 1.5, expected")


def test_status_of_a_study_half_done(cli, directory):
    path = directory / JOURNAL_NAME
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    _, out, _ = cli("study", "status", directory)
    assert "tiny: 2 of 4 runs done" in out
    assert "the same `minaction study run` command does the rest" in out


def test_verify(cli, directory):
    code, out, _ = cli("study", "verify", directory)
    assert code == 0
    assert re.search(r": \d{2,} numbers recomputed from the journal, all equal$", out.strip())
    code, out, _ = cli("study", "verify", directory, "--json")
    assert code == 0
    assert json.loads(out)["differences"] == []


def test_a_changed_report_is_found(cli, directory):
    page = directory / "report.html"
    text = page.read_text()
    pattern = r'("test_accuracy"\s*:\s*)(0\.\d+)'
    assert re.search(pattern, text)
    page.write_text(re.sub(pattern, r"\g<1>0.123456", text, count=1))
    code, out, err = cli("study", "verify", directory)
    assert (code, out) == (1, "")
    said = one_line(err.splitlines(keepends=True)[-1])
    assert "test_accuracy: found 0.123456, expected 0." in said
    code, out, _ = cli("study", "verify", directory, "--json")
    assert code == 1
    (found,) = [d for d in json.loads(out)["differences"] if d["stored"] == 0.123456]
    assert found["path"].endswith("test_accuracy")


def test_a_changed_journal_is_found(cli, directory):
    path = directory / JOURNAL_NAME
    text = path.read_text()
    path.write_text(re.sub(r'("test_accuracy":\s*)0\.\d+', r"\g<1>0.5", text, count=1))
    code, _, err = cli("study", "verify", directory)
    assert code == 1
    assert "expected" in one_line(err.splitlines(keepends=True)[-1])


def test_verify_without_a_report(refused, directory):
    (directory / "report.html").unlink()
    assert f"run `minaction report {directory}`" in refused("study", "verify", directory)


def test_export_json(cli, directory):
    code, out, err = cli("study", "export", directory, "--to", "json")
    assert (code, err) == (0, "")
    exported = json.loads(out)
    records = latest_records(directory)
    assert [row["run_id"] for row in exported] == [record.run_id for record in records]
    for row, record in zip(exported, records, strict=True):
        assert Record(**{**row, "status": RunStatus(row["status"])}) == record


def test_export_csv(cli, directory):
    code, out, err = cli("study", "export", directory)
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    records = latest_records(directory)
    assert [row["run_id"] for row in rows] == [record.run_id for record in records]
    for row, record in zip(rows, records, strict=True):
        assert float(row["test_accuracy"]) == record.metrics["test_accuracy"]
        assert float(row["energy_activation"]) == record.metrics["energy_activation"]
        assert float(row["lam"]) == record.config["lam"]
        assert row["dataset"] == "digits"
        assert row["status"] == "ok"


@pytest.mark.parametrize("to", ["json", "csv"])
def test_export_to_a_file(cli, refused, directory, tmp_path, to):
    _, printed, _ = cli("study", "export", directory, "--to", to)
    path = tmp_path / "runs"
    assert cli("study", "export", directory, "--to", to, "-o", path) == (0, "", "")
    assert path.read_text() == printed
    missing = tmp_path / "missing" / "runs"
    assert "no such folder" in refused("study", "export", directory, "-o", missing)
    assert "folder" in refused("study", "export", directory, "-o", tmp_path)


def test_export_to_parquet(cli, refused, directory, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "runs.parquet"
    assert "give the path of a file" in refused("study", "export", directory, "--to", "parquet")
    assert cli("study", "export", directory, "--to", "parquet", "-o", path) == (0, "", "")
    rows = parquet.read_table(path).to_pylist()
    assert [row["test_accuracy"] for row in rows] == [
        record.metrics["test_accuracy"] for record in latest_records(directory)
    ]


@pytest.mark.parametrize("command", [*READERS, ["study", "run"]], ids=" ".join)
def test_a_journal_in_parts_is_the_same_journal(cli, directory, tmp_path, command):
    """Every command says of it what it says of one file."""
    rest = ["--to", "json"] if "export" in command else []
    before = [write_study(tmp_path), "--out"] if "run" in command else []
    expected = cli(*command, *before, directory, *rest)
    records = latest_records(directory)
    (directory / JOURNAL_NAME).unlink()
    with Journal(directory, rotate_bytes=1) as journal:
        for record in records:
            journal.append(record)
    assert (directory / JOURNAL_NAME).stat().st_size == 0
    assert len(list(directory.glob("*.gz"))) == 4
    assert cli(*command, *before, directory, *rest) == expected


def test_merge(cli, refused, directory, tmp_path):
    lines = (directory / JOURNAL_NAME).read_text().splitlines(keepends=True)
    halves = [tmp_path / "a", tmp_path / "b"]
    for half, some in zip(halves, (lines[:3], lines[2:]), strict=True):
        half.mkdir()
        shutil.copy(directory / "study.toml", half)
        (half / JOURNAL_NAME).write_text("".join(some))
    code, out, err = cli("study", "merge", *halves, "--out", tmp_path / "c")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"{tmp_path / 'c'}: 4 runs: 3 from {halves[0]}, 1 from {halves[1]}",
        "  finished in several with the same result: 1",
    ]
    assert latest_records(tmp_path / "c") == latest_records(directory)
    assert "is there already" in refused("study", "merge", *halves, "--out", tmp_path / "c")
    assert "two directories or more" in refused("study", "merge", halves[0], "--out", "d")
    code, out, _ = cli("study", "merge", *halves, "--out", tmp_path / "d", "--json")
    assert json.loads(out)["runs"] == 4


def test_watch_ends_when_all_runs_are_done(cli, directory):
    assert cli("study", "status", directory, "--watch") == (0, "tiny: 4 of 4 runs done\n", "")
    code, out, _ = cli("study", "status", directory, "--watch", "--json")
    assert code == 0
    assert [json.loads(line)["done"] for line in out.splitlines()] == [4]


def test_watch_of_a_study_that_runs_and_its_end_by_ctrl_c(directory):
    """From another terminal: a line for each change, 130 after Ctrl-C, and nothing is written."""
    path = directory / JOURNAL_NAME
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]))
    before = {p: p.read_bytes() for p in directory.iterdir()}
    command = [*PROGRAM, "study", "status", directory, "--watch", "--every", "0.1"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        line = process.stdout.readline()
        assert line == "tiny: 2 of 4 runs done, no driver is at work\n"
        assert {p: p.read_bytes() for p in directory.iterdir()} == before
        with announced(directory, workers=1, finished_before=0):
            with path.open("a") as file:
                file.write(lines[2][:100])
                file.flush()
                file.write(lines[2][100:])
            while "3 of 4" not in line:
                line = process.stdout.readline()
            assert re.fullmatch(
                r"tiny: 3 of 4 runs done, 1 running, [\d,]+ runs/h, \d+s left\n", line
            )
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
    assert process.returncode == 130
    assert (out, err) == ("", "minaction: stopped\n")


# --- plan ---


def test_plan(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = write_study(tmp_path)
    code, out, err = cli("study", "plan", spec)
    assert code == 0
    assert "trying mlp on digits" in err
    lines = out.splitlines()
    assert lines[0] == "tiny: 4 runs, float32"
    assert re.fullmatch(
        r"pilot: \d+ short runs, \d+s, [\d.]+% of the study on this machine", lines[1]
    )
    assert [line.split()[0] for line in lines if re.match(r" +\d+  +\d+", line)][:2] == ["1", "2"]
    no_gpu = "GPU: no CUDA GPU here to measure on"
    assert (no_gpu in lines) == (not torch.cuda.is_available())
    assert sum(line.startswith("stacks (--fleet auto): ") for line in lines) == 1
    assert sum(" 2x mlp on digits, activation" in line for line in lines) == 2
    assert list(tmp_path.iterdir()) == [spec]


def test_plan_of_a_study_that_cannot_be_run(cli, tmp_path):
    code, out, err = cli("study", "plan", write_study(tmp_path, batch_size=100_000))
    assert (code, out) == (2, "")
    assert "digits: batch_size is 100000" in err.splitlines()[-1]


def test_a_stopped_plan_leaves_nothing(tmp_path):
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    spec = write_study(tmp_path, epochs=1000)
    process = subprocess.Popen(
        [*PROGRAM, "study", "plan", spec, "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(scratch)},
    )
    with process:
        while "trying mlp" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "minaction: stopped; nothing of the study was started"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny.toml", "tmp"]
    left = [path for path in scratch.rglob("*") if path.is_file()]
    assert left == []
    # torch makes its compiler's folder, empty, once it has stacked networks
    assert {path.name.split("_")[0] for path in scratch.iterdir()} <= {"torchinductor"}


def test_report(cli, refused, directory, tmp_path):
    page = tmp_path / "page.html"
    assert cli("report", directory, "-o", page) == (0, f"{page}\n", "")
    assert page.read_text() == (directory / "report.html").read_text()
    (directory / "report.html").unlink()
    assert cli("report", directory) == (0, f"{directory / 'report.html'}\n", "")
    assert (directory / "report.html").is_file()
    assert "no such folder" in refused("report", directory, "-o", tmp_path / "no" / "page.html")
    assert "is a folder" in refused("report", directory, "-o", tmp_path)


def test_report_for_a_paper(cli, refused, directory, tmp_path):
    before = (directory / "report.html").read_bytes()
    folder = tmp_path / "paper"
    code, out, err = cli("report", directory, "--paper", folder)
    assert (code, err) == (0, "")
    assert out.startswith(f"{folder}: ")
    assert "without efficiency-gains: the study has conventional models only" in out
    assert (folder / "figures" / "one-column" / "accuracy.pdf").is_file()
    assert (folder / "tables" / "lambda.tex").is_file()
    assert (directory / "report.html").read_bytes() == before
    (folder / "notes.txt").write_text("mine")
    assert "holds notes.txt" in refused("report", directory, "--paper", folder)
    assert "holds " in refused("report", directory, "--paper", directory)


# --- quickstart ---


def quickstart_records(study):
    """Records as quick as they are invented: energy falls with lambda."""
    for config in runs(study):
        accuracy = 0.97 + 0.001 * config["seed"]
        metrics = {
            "test_accuracy": accuracy,
            "val_accuracy": accuracy,
            "energy_activation": 1000.0 / (1 + 1e4 * config["lam"]) + config["seed"],
        }
        hashes = {"study_sha256": study.sha256, "analysis_sha256": study.analysis_sha256}
        yield Record(
            run_id=run_id(config),
            status=RunStatus.OK,
            config=dict(config),
            metrics=metrics,
            provenance=hashes,
        )


def test_quickstart_again_only_shows_what_was_found(cli, tmp_path):
    study = load_study(Path(minaction.__file__).parent / "study" / "quickstart.toml")
    out = tmp_path / "quickstart"
    open_study_directory(out, study)
    with Journal(out) as journal:
        for record in quickstart_records(study):
            journal.append(record)
    code, shown, err = cli("quickstart", "--out", out)
    assert (code, err) == (0, "144 runs, 144 of them done before\n")
    lines = shown.splitlines()
    assert lines[0] == "All 144 runs are done (144 ok)."
    assert lines[-1] == f"report: {(out / 'report.html').resolve()}"
    assert (out / "report.html").is_file()
    for level in ("0", "1e-4", "1e-3"):
        assert sum(line.split()[:1] == [level] for line in lines) == 16


def test_quickstart_covers_every_modality_offline_with_both_kinds_of_models():
    study = load_study(Path(minaction.__file__).parent / "study" / "quickstart.toml")
    sources = [SOURCES[name] for name in study.factors.dataset]
    assert {source.modality for source in sources} == {
        *("vision", "text", "neuromorphic", "physiological"),
    }
    assert all(source.offline for source in sources)
    assert {"mlp", "cnn"} < set(study.factors.model)
    assert {"dual-pathway", "lagrangian"} < set(study.factors.model)


@pytest.mark.slow
def test_quickstart_takes_less_than_two_minutes(tmp_path):
    # Not even the parsed data are there yet.
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    started = time.monotonic()
    done = subprocess.run(
        [*PROGRAM, "quickstart", "--out", "q"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 120
    records = latest_records(tmp_path / "q")
    assert [record.status for record in records] == [RunStatus.OK] * 144
    least = {"digits": 0.9, "docstrings": 0.3, "saccade-digits": 0.6, "simulated-stress": 0.65}
    for record in records:
        assert record.metrics["test_accuracy"] > least[record.config["dataset"]]
