from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from tiny_search import Silent, search_of

from minaction.cli import main
from minaction.errors import InfeasibleStudyError, StudyDirectoryError
from minaction.report.verify import verify_report
from minaction.search.front import TRIAL_SEED, confirmed_front, tried
from minaction.search.page import write_search_report
from minaction.search.run import run_search
from minaction.search.verify import verify_search
from minaction.study.directory import load_study_directory
from minaction.study.journal import JOURNAL_NAME, RunStatus, latest_records


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A search done by the command line, with two workers."""
    folder = tmp_path_factory.mktemp("search")
    search = search_of(folder / "tiny.toml")
    command = [sys.executable, "-m", "minaction", "search", str(folder / "tiny.toml")]
    done = subprocess.run(
        [*command, "--out", str(folder / "out"), "--workers", "2"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return search, folder / "out", done


def chosen_in(directory):
    """The study of the chosen network."""
    (found,) = directory.glob("chosen-*")
    return found


def comparable(directory):
    return [
        (
            record.run_id,
            record.status,
            record.layers,
            {k: v for k, v in record.metrics.items() if not k.endswith("_seconds")},
        )
        for record in latest_records(directory)
    ]


def test_a_search_ends_with_a_front_and_a_network_measured_on_the_test_split(finished):
    search, directory, done = finished
    records = latest_records(directory)
    assert len(tried(records)) == 10
    front = confirmed_front(search, records)
    assert front is not None
    assert 0 <= front.hypervolume.low <= front.hypervolume.high
    assert all(0 <= member.membership <= 1 for member in front.members)
    chosen = chosen_in(directory)
    study, final = load_study_directory(chosen), latest_records(chosen)
    assert study.seeds == len(final) == 2
    assert all(record.metrics["test_accuracy"] > 0.5 for record in final)
    assert "Chosen by cheapest-within-margin: mlp" in done.stdout
    assert "of 18 architectures cannot be tried, as mlp on digits: cannot meet" in done.stderr


def test_no_candidate_has_seen_the_test_split(finished):
    for record in latest_records(finished[1]):
        assert record.config["seed"] >= TRIAL_SEED
        assert not [name for name in record.metrics if name.startswith("test_")]
        assert record.provenance["trial"]["split"] == "validation"


def test_a_hopeless_candidate_is_stopped_early(finished):
    stopped = [r for r in latest_records(finished[1]) if r.status is RunStatus.STOPPED]
    assert {record.config["lam"] for record in stopped} == {10.0}
    assert all(record.metrics["steps"] < record.provenance["trial"]["steps"] for record in stopped)
    assert all(record.metrics["val_accuracy"] < 0.3 for record in stopped)


def test_the_page_holds_and_a_changed_number_is_found(finished, tmp_path):
    copy = shutil.copytree(finished[1], tmp_path / "copy")
    outcome = verify_search(copy)
    assert outcome.differences == []
    assert outcome.checked > 500
    assert verify_report(chosen_in(copy)).differences == []
    journal = copy / JOURNAL_NAME
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    best = next(r for r in records if r["status"] == "ok" and r["config"]["seed"] > TRIAL_SEED)
    best["metrics"]["val_accuracy"] += 0.01
    journal.write_text("".join(json.dumps(record) + "\n" for record in records))
    paths = [one.path for one in verify_search(copy).differences]
    assert any(path.startswith("front.") for path in paths)
    assert any(path.startswith("page: front.") for path in paths)


def test_a_click_on_the_front_names_a_record_of_the_page(finished):
    page = (finished[1] / "report.html").read_text()
    block = page.split('id="front-0-data" class="figure-data">')[1].split("</script>")[0]
    runs = [meta for trace in json.loads(block)["data"] for meta in trace["meta"]]
    findings = json.loads(page.split('id="findings" class="findings">')[1].split("</script>")[0])
    assert runs
    for run in runs:
        assert findings["runs"][run["index"]]["run_id"] == run["run_id"]


def test_a_search_that_was_cut_off_ends_as_one_that_was_not(finished, tmp_path, executor):
    search, directory, _ = finished
    copy = shutil.copytree(directory, tmp_path / "copy")
    shutil.rmtree(chosen_in(copy))
    lines = (copy / JOURNAL_NAME).read_bytes().splitlines(keepends=True)
    (copy / JOURNAL_NAME).write_bytes(b"".join(lines[:5]) + lines[5][:40])  # torn by a kill
    outcome = run_search(search, copy, Silent())
    assert outcome.ran == len(lines) - 5 + search.search.final_seeds
    assert comparable(copy) == comparable(directory)
    assert comparable(chosen_in(copy)) == comparable(chosen_in(directory))
    again = len(executor.asked)
    assert run_search(search, copy, Silent()).ran == 0
    assert len(executor.asked) == again


def test_a_directory_holds_one_search(finished, tmp_path):
    other = search_of(tmp_path / "other.toml", ('"tpe"', '"random"'))
    with pytest.raises(StudyDirectoryError, match=r"sampler is \"tpe\" there, \"random\" here"):
        run_search(other, finished[1], Silent())
    with pytest.raises(StudyDirectoryError, match=r"holds other files .* but no search\.toml"):
        run_search(other, chosen_in(finished[1]), Silent())


IMPOSSIBLE = {
    "no network fits": (
        ("[10, 1_000, 3_000]", "[10, 11]"),
        r"no feasible model: mlp on digits: cannot meet .* \(and \d+ more\)",
    ),
    "no network has the objective": (
        ('["mlp", "gru"]\nparameters = [10, 1_000, 3_000]', '"gru"\nparameters = [1_000, 3_000]'),
        "gru is not positively homogeneous",
    ),
    "no such device": (
        ('"macs"]', '"latency"]\ndevice = "cuda:77"'),
        "latency cannot be measured on 'cuda:77' here",
    ),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_cannot_be_searched_is_refused_and_leaves_nothing(tmp_path, executor, case):
    change, said = IMPOSSIBLE[case]
    search = search_of(tmp_path / "search.toml", change, ("evaluations = 10", "evaluations = 2"))
    with pytest.raises(InfeasibleStudyError, match=said):
        run_search(search, tmp_path / "out", Silent())
    assert not (tmp_path / "out").exists()


def test_latency_is_measured_where_it_is_an_objective(tmp_path, executor):
    search = search_of(
        tmp_path / "search.toml",
        ('"energy_gauge_fixed", "macs"]', '"latency"]\nfloor = 0.99'),
        ('["mlp", "gru"]', '"mlp"'),
        ("[0, 1e-2, 10]", "0"),
        ("evaluations = 10", "evaluations = 2"),
        ("steps = 100", "steps = 50"),
        ("validate_every = 25", "validate_every = 50"),
    )
    outcome = run_search(search, tmp_path / "out", Silent())
    found = [record.metrics["inference_seconds"] for record in latest_records(tmp_path / "out")]
    assert len(found) == 2
    assert all(0 < seconds < 0.1 for seconds in found)
    assert outcome.chosen is None  # none is above the floor
    page = write_search_report(tmp_path / "out").read_text()
    assert "No candidate ended well above the floor" in page
    assert verify_search(tmp_path / "out").differences == []


def test_a_missing_optuna_is_named_with_what_installs_it(tmp_path, monkeypatch, capsys):
    search_of(tmp_path / "search.toml")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as exit_:
        main(["search", str(tmp_path / "search.toml"), "--out", str(tmp_path / "out")])
    assert exit_.value.code == 2
    assert "pip install 'minaction[search]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
