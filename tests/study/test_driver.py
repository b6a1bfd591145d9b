from __future__ import annotations

import json
import shutil

import pytest
from real_study import PLAIN, comparable_records, study_of

from minaction.data.sources import SOURCES
from minaction.errors import (
    DataFileError,
    InfeasibleStudyError,
    InputError,
    MinActionError,
    StudyDirectoryError,
    StudyFileError,
)
from minaction.study.choose_execution import calibrate_study, describe_execution
from minaction.study.design import baseline_of, run_id, runs
from minaction.study.directory import load_study_directory
from minaction.study.driver import Outcome, run_study
from minaction.study.execute import Answer
from minaction.study.journal import JOURNAL_NAME, latest_records
from minaction.study.merge import merge_studies
from minaction.study.parts import Part
from minaction.study.read_study import parse_study

STUDY = study_of(precision="auto", compile='"auto"', channels_last='"auto"')


class Notebook:
    """A listener that writes everything down."""

    def __init__(self):
        self.events = []

    def started(self, total, done):
        self.events.append(("started", total, done))

    def note(self, text):
        self.events.append(("note", text))

    def finished(self, record):
        self.events.append(("finished", record.run_id))


def run(study, directory, **options):
    notebook = Notebook()
    outcome = run_study(study, directory, notebook, **{"workers": 1} | options)
    return outcome, notebook.events


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study run once: its directory, the outcome, what the listener heard."""
    directory = tmp_path_factory.mktemp("driver") / "study"
    return directory, *run(STUDY, directory, workers=5)


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished[0], tmp_path / "copy")


def rewrite(directory, change):
    """Keep the first line of a journal, with changes to its provenance."""
    journal = directory / JOURNAL_NAME
    record = json.loads(journal.read_text().split("\n")[0])
    record["provenance"] |= change
    journal.write_text(json.dumps(record) + "\n")


def test_a_study_is_run_and_the_listener_told(finished):
    directory, outcome, events = finished
    ids = {run_id(config) for config in runs(STUDY)}
    assert outcome == Outcome(total=2, ran=2, failed=0)
    assert events[0] == ("started", 2, 0)
    assert [kind for kind, *_ in events[1:3]] == ["note", "note"]
    assert "trying which precision" in events[1][1]
    assert events[2][1].startswith("execution: float32 (the study is short")
    assert set(events[3:]) == {("finished", run) for run in ids}
    assert {record.run_id for record in latest_records(directory)} == ids
    assert load_study_directory(directory) == STUDY


def test_every_record_says_under_which_conditions_it_was_made(finished):
    for record in latest_records(finished[0]):
        provenance = record.provenance
        assert provenance["study_sha256"] == STUDY.sha256
        assert provenance["analysis_sha256"] == STUDY.analysis_sha256
        assert provenance["execution"] == PLAIN
        assert "short" in provenance["calibration"]["reason"]
        assert provenance["threads"] == 1
        assert provenance["worker"] in (0, 1)  # no more workers than runs
        assert provenance["data_sha256"]


def test_a_finished_study_is_left_as_it_is(finished):
    directory = finished[0]
    before = {path: path.read_bytes() for path in directory.iterdir()}
    assert run(STUDY, directory) == (Outcome(total=2, ran=0, failed=0), [("started", 2, 2)])
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


def test_a_resume_keeps_the_execution_of_the_first_records(copy):
    choice = {
        "execution": PLAIN | {"channels_last": True},
        "calibration": {"reason": "chosen on another day"},
    }
    rewrite(copy, choice)
    outcome, events = run(STUDY, copy)
    assert outcome == Outcome(total=2, ran=1, failed=0)
    assert [kind for kind, *_ in events] == ["started", "finished"]
    for record in latest_records(copy):
        assert {key: record.provenance[key] for key in choice} == choice


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)


@pytest.mark.usefixtures("no_compiler")
def test_compilation_without_a_compiler_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(StudyFileError, match=r"compile is true, but no C\+\+ compiler .*; inst"):
        run(study_of(compile="true"), tmp_path / "study")
    assert not (tmp_path / "study").exists()


@pytest.mark.usefixtures("no_compiler")
def test_a_compiled_study_is_not_resumed_without_a_compiler(copy):
    rewrite(copy, {"execution": PLAIN | {"compile": True}})
    with pytest.raises(StudyFileError, match="its runs so far were compiled, but no C"):
        run(STUDY, copy)
    assert len(latest_records(copy)) == 1


def test_damaged_data_stop_a_study_before_anything_is_written(tmp_path):
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    for file in SOURCES["mnist"].files:
        (folder / file.name).write_bytes(b"garbage")
    study = STUDY.model_copy(
        update={"factors": STUDY.factors.model_copy(update={"dataset": ("digits", "mnist")})}
    )
    with pytest.raises(DataFileError, match="mnist"):
        run(study, tmp_path / "study", data_dir=str(tmp_path / "data"))
    assert not (tmp_path / "study").exists()


def test_a_study_no_model_can_meet_leaves_nothing_behind(tmp_path):
    study = study_of(model='["mlp", "cnn"]', train="parameters = 10")
    with pytest.raises(InfeasibleStudyError, match=r"^digits: mlp on digits: .* \(and 1 more prob"):
        run(study, tmp_path / "a" / "study")
    assert not list((tmp_path / "a").iterdir())


def test_a_directory_of_another_study_is_refused(copy):
    before = (copy / JOURNAL_NAME).read_bytes()
    with pytest.raises(StudyDirectoryError, match="holds another study"):
        run(study_of(seeds=2), copy)
    assert (copy / JOURNAL_NAME).read_bytes() == before


def test_the_parts_of_a_study_are_done_apart_and_merged_into_what_one_driver_makes(
    finished, tmp_path
):
    places = [tmp_path / "first", tmp_path / "second"]
    for number, place in enumerate(places, start=1):
        part = Part(number=number, count=2)
        outcome, events = run(STUDY, place, part=part)
        assert outcome == Outcome(total=1, ran=1, failed=0)
        assert events[:2] == [("note", f"part {number}/2: 1 of 2 runs"), ("started", 1, 0)]
        again = run(STUDY, place, part=part)[0]
        assert again == Outcome(total=1, ran=0, failed=0)
    merged = merge_studies(places, tmp_path / "whole")
    assert (merged.runs, merged.agreeing) == (2, 0)
    assert comparable_records(tmp_path / "whole") == comparable_records(finished[0])


def test_a_part_leaves_alone_what_a_directory_has_of_the_others(copy):
    before = (copy / JOURNAL_NAME).read_bytes()
    outcome, _ = run(STUDY, copy, part=Part(number=2, count=2))
    assert outcome == Outcome(total=1, ran=0, failed=0)
    assert (copy / JOURNAL_NAME).read_bytes() == before


def test_more_parts_than_runs_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="make 2 parts at most"):
        run(STUDY, tmp_path / "study", part=Part(number=1, count=3))
    assert not (tmp_path / "study").exists()


BUDGETED = parse_study(
    STUDY.to_toml()
    .replace("lam = [0.0, 0.001]", 'lam = "budget"')
    .replace("epochs = 1", "epochs = 6"),
    source="budgeted",
)


@pytest.fixture(scope="module")
def budgeted(tmp_path_factory):
    directory = tmp_path_factory.mktemp("budget") / "study"
    return directory, *run(BUDGETED, directory, workers=2)


def test_budget_runs_come_after_their_baseline_and_name_it(budgeted):
    directory, outcome, events = budgeted
    assert outcome == Outcome(total=2, ran=2, failed=0)
    baseline, steered = sorted(latest_records(directory), key=lambda r: str(r.config["lam"]))
    assert [run for kind, run in events[3:] if kind == "finished"] == [
        baseline.run_id,
        steered.run_id,
    ]
    assert (baseline.config["lam"], steered.config["lam"]) == (0.0, "budget")
    assert steered.provenance["baseline"] == baseline.run_id == run_id(baseline_of(steered.config))
    assert "baseline" not in baseline.provenance
    assert steered.metrics["shadow_price"] > 0
    assert steered.metrics["lam_final"] == steered.history[-1]["lam"]
    assert len({entry["lam"] for entry in steered.history}) > 3
    assert "shadow_price" not in baseline.metrics


def only_the_baseline(directory, folder, **changes):
    """A copy of a study whose budget run has not been done, its baseline changed."""
    copied = shutil.copytree(directory, folder / "copy")
    journal = copied / JOURNAL_NAME
    record = json.loads(journal.read_text().splitlines()[0])
    assert record["config"]["lam"] == 0
    journal.write_text(json.dumps(record | changes) + "\n")
    return copied


def test_a_resumed_budget_run_is_the_same_run(budgeted, tmp_path):
    copied = only_the_baseline(budgeted[0], tmp_path)
    assert run(BUDGETED, copied)[0] == Outcome(total=2, ran=1, failed=0)
    assert comparable_records(copied) == comparable_records(budgeted[0])


def test_a_budget_without_a_sound_baseline_is_a_failed_run_that_says_why(budgeted, tmp_path):
    copied = only_the_baseline(budgeted[0], tmp_path, status="collapsed")
    assert run(BUDGETED, copied)[0] == Outcome(total=2, ran=1, failed=1)
    (failed,) = (record for record in latest_records(copied) if record.error)
    assert failed.error.startswith("the baseline of this budget")
    assert "is collapsed; mend that run first" in failed.error


FLEET = study_of(seeds=2, model='["mlp", "gru"]', train="parameters = 1_000")


@pytest.fixture(scope="module")
def stacked(tmp_path_factory):
    directory = tmp_path_factory.mktemp("stacked") / "study"
    return directory, *run(FLEET, directory, workers=2, fleet="on")


def test_runs_are_stacked_on_demand_and_the_records_say_so(stacked):
    directory, outcome, events = stacked
    assert outcome == Outcome(total=8, ran=8, failed=0)
    notes = [text for kind, text, *_ in events if kind == "note"]
    assert "mlp on digits: trained 2 at a time" in notes
    assert any(note.startswith("gru on digits: trained one at a time (GRU") for note in notes)
    for record in latest_records(directory):
        mlp = record.config["model"] == "mlp"
        expected = {"runs": 2, "seconds_attributed": True} if mlp else None
        assert record.provenance.get("stacked") == expected
        assert record.provenance["calibration"]["stacked"] == {"mlp on digits": 2}
        assert record.provenance["calibration"]["execution"] == PLAIN


def test_a_resume_stacks_what_its_records_were_stacked_as(stacked, tmp_path):
    copied = shutil.copytree(stacked[0], tmp_path / "copy")
    journal, chosen = copied / JOURNAL_NAME, PLAIN | {"channels_last": True}
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    for record in records:  # as if single runs were done in another way than stacks
        record["provenance"]["calibration"]["execution"] = chosen
    mlps = [record for record in records if record["config"]["model"] == "mlp"]
    (gru, *_) = (record for record in records if record["config"]["model"] == "gru")
    ids = {record["run_id"] for record in [*mlps[:3], gru]}
    kept = [record for record in records if record["run_id"] not in ids]
    journal.write_text("".join(json.dumps(record) + "\n" for record in kept))
    outcome, events = run(FLEET, copied, workers=1)  # auto
    assert outcome == Outcome(total=8, ran=4, failed=0)
    assert not [text for kind, text, *_ in events if kind == "note"]
    again = [record for record in latest_records(copied) if record.run_id in ids]
    assert {r.run_id for r in again if r.provenance["execution"] == chosen} == {gru["run_id"]}
    again = [record for record in again if record.config["model"] == "mlp"]
    assert [record.provenance["execution"] for record in again] == [PLAIN] * 3
    runs_of = [record.provenance.get("stacked", {}).get("runs") for record in again]
    assert sorted(runs_of, key=str) == [2, 2, None]


@pytest.mark.slow
def test_off_stacks_nothing_and_on_can_be_asked_for_later(tmp_path):
    directory = tmp_path / "study"
    run(FLEET, directory, fleet="off")
    journal = directory / JOURNAL_NAME
    lines = journal.read_text().splitlines(keepends=True)
    assert not any("stacked" in json.loads(line)["provenance"] for line in lines)
    assert not any("stacked" in json.loads(line)["provenance"]["calibration"] for line in lines)
    journal.write_text("".join(line for line in lines if json.loads(line)["config"]["seed"] == 0))
    run(FLEET, directory, fleet="on")
    later = [record for record in latest_records(directory) if record.config["seed"] > 0]
    stacked = [r for r in later if r.provenance.get("stacked", {}).get("runs") == 2]
    assert [record.config["model"] for record in stacked] == ["mlp", "mlp"]


def test_auto_leaves_short_runs_alone(finished):
    for record in latest_records(finished[0]):
        assert "stacked" not in record.provenance


class Dying:
    """An executor whose workers are killed over every calibration that may try stacks."""

    workers = 1

    def map(self, tasks):
        for task in tasks:
            killed = {"error": "the worker was killed by SIGKILL"}
            plain = {"execution": PLAIN, "report": {"reason": "short"}}
            yield Answer(task=task, content=killed if task["stackable"] else plain)


def test_trying_stacks_cannot_keep_a_study_from_running_unless_they_were_asked_for():
    def choice(fleet):
        return calibrate_study(
            FLEET, runs(FLEET), Dying(), workers=1, note=notes.append, fleet=fleet
        )

    notes = []
    assert choice("auto") == (PLAIN, {"reason": "short"})
    assert notes[0] == (
        "stacks cannot be tried here (the worker was killed by SIGKILL): runs are trained one at "
        "a time"
    )
    with pytest.raises(MinActionError, match="the calibration failed: the worker was killed"):
        choice("on")


def test_stacks_are_refused_where_the_study_file_asks_for_another_execution(tmp_path):
    study = study_of(precision="bfloat16")
    with pytest.raises(StudyFileError, match=r"stacked runs are float32, .* leave out --fleet on"):
        run(study, tmp_path / "study", fleet="on")
    assert not (tmp_path / "study").exists()


def test_an_execution_in_words():
    everything = {"precision": "bfloat16", "compile": True, "channels_last": True}
    assert describe_execution(everything) == "bfloat16, compiled, channels-last"
    assert describe_execution(PLAIN) == "float32"
