"""The study of small transformers: its parts on tiny random models, its tables on made-up runs."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import minaction as ma

pytest.importorskip("transformers", reason="needs transformers")
pytest.importorskip("accelerate", reason="needs accelerate")

RESULTS = Path(__file__).parents[2] / "results"
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*pin_memory"),
    pytest.mark.filterwarnings("ignore:.*script_method"),
]
TINY = {
    "words": 30,
    "tokens": 8,
    "width": 8,
    "layers": 1,
    "heads": 2,
    "units": 12,
    "steps": 40,
    "validate_every": 4,
    "batch": 4,
    "lam_range": (0.001, 0.01, 0.1),
    "tolerances": (0.0, 0.3),
    "latency_batches": (2,),
    "pairs": 5,
}


@pytest.fixture(scope="module")
def study():
    """The modules of the script, which live beside it."""
    names = ("transformer", "transformer_run", "transformer_tables")
    sys.path.insert(0, str(RESULTS))
    yield {name: importlib.import_module(name) for name in names}
    sys.path.remove(str(RESULTS))
    for name in names:
        del sys.modules[name]


def dataset():
    """Texts whose class is their first word, with padding at the end."""
    generator = torch.Generator().manual_seed(0)

    def split(count):
        x = torch.randint(2, 30, (count, 10), generator=generator)
        y = x[:, 0] % 3
        x[:, 7:] = 0
        return ma.Split(x=x, y=y)

    spec = ma.DataSpec(
        name="texts", modality="text", shape=(10,), classes=3, class_names=("a", "b", "c"),
        vocabulary=30,
    )  # fmt: skip
    return ma.Dataset.of(train=split(48), validation=split(24), test=split(24), spec=spec)


def test_messages_become_one_stream_of_their_frequent_words(study):
    script = study["transformer_run"]
    ids = torch.tensor([[5, 5, 9, 1, 0], [7, 5, 9, 3, 7], [9, 0, 0, 0, 0]])
    numbers = script.word_numbers(ids, words=3)
    assert {i: int(n) for i, n in enumerate(numbers) if n >= 0} == {5: 1, 9: 2}  # 7, 3, 1, 0 go
    part = script.blocks(ids, numbers, tokens=3)
    assert part.inputs["input_ids"].tolist() == [[1, 1, 2], [0, 1, 2], [0, 2, 0]]
    assert part.labels[:, 0].tolist() == [script.IGNORED] * 3


def test_near_zero_is_what_holds_a_hundredth_of_the_energy(study):
    model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.ReLU(), torch.nn.Flatten())
    x = torch.tensor([[1.0, 1.0, 0.1, 0.1, 0.05, 0.0, -1.0, 0.09, 0.1, 0.5]])
    squares = torch.relu(x).square().sort().values.flatten()
    count = max(k for k in range(11) if squares[:k].sum() <= 0.01 * squares.sum())
    found = study["transformer_run"].near_zero(model, {"input": x}, ["1"])
    assert found == {"1": count / 10}
    assert count > 2  # more than the exact zeros


@pytest.mark.parametrize("model", ["bert", pytest.param("gpt2", marks=pytest.mark.slow)])
def test_a_budget_is_trained_measured_and_made_smaller(study, model):
    script, data = study["transformer_run"], dataset()
    zero = study["transformer"].Settings(
        model=model, activation="relu", lam=0, seed=0, margin=0.5, lr=0.02, **TINY
    )
    baseline = script.run(zero, data)
    found = script.run(replace(zero, lam="budget", seed=1), data, baseline)
    json.dumps(found, allow_nan=False)
    lams = [look["lam"] for look in found["history"]]
    assert [look["step"] for look in found["history"]] == list(range(4, 41, 4))
    assert len(set(lams[2:])) > 2  # steered by validations
    assert found["energy_activation"] < baseline["energy_activation"]
    assert found["energy_gauge_fixed"] > 0
    assert 0 < found["zero_fraction"] <= found["near_zero_fraction"] <= 1
    removal = found["compaction"]
    ((before, after),) = removal["units"].values()
    assert before == 12
    assert before - after == removal["exact"] + removal["approximate"]
    assert removal["macs"][1] <= removal["macs"][0] == found["macs_dense"]
    assert bool(removal["latency"]) == (after < before)
    quality = "accuracy" if model == "bert" else "perplexity"
    assert found["quality"]["test"].keys() == {"loss", quality}


def test_gelu_has_no_gauge_fixed_energy_but_the_reason(study):
    script = study["transformer_run"]
    settings = study["transformer"].Settings(
        model="gpt2", activation="gelu", lam=0, seed=0, margin=0.1, **TINY
    )
    model = script.build(settings, 3).eval()
    part = script.parts_of(dataset(), settings)["test"]
    found = script.measured(model, part, settings)
    assert found["energy_gauge_fixed"] is None
    assert found["energy_gauge_fixed_reason"] == "gelu is not positively homogeneous"
    assert found["zero_fraction"] == 0 < found["near_zero_fraction"]


def test_how_a_training_ended_is_told(study):
    script, model = study["transformer_run"], torch.nn.Linear(2, 2)
    part = script.Part(inputs={}, labels=torch.tensor([0, 0, 1, 2]))
    assert [script.status(model, part, score) for score in (0.6, 0.5)] == ["ok", "collapsed"]
    text = script.Part(inputs={}, labels=torch.tensor([[-100, 0, 1], [-100, 0, 1]]))
    entropy = np.log(2)
    assert script.status(model, text, -entropy + 0.1) == "ok"
    assert script.status(model, text, -entropy - 0.1) == "collapsed"
    assert script.status(model, part, float("nan")) == "diverged"
    model.weight.data[0, 0] = torch.inf
    assert script.status(model, part, 0.6) == "diverged"
    assert script.finite({"a": [1.0, float("nan")]}) == {"a": [1.0, None]}


def line(study, seed, lam, **values):
    """A run as the script writes it."""
    settings = study["transformer"].planned(["bert"], 1)[0]
    rng = np.random.default_rng([seed, lam == 0])
    test, smaller = rng.uniform(0.5, 0.6, 2)
    return {
        "settings": replace(settings, seed=seed, lam=lam).to_dict(),
        "status": "ok", "cpu_seconds": 60.0, "lam_found": None if lam == 0 else 10.0 ** (seed - 3),
        "conditions": {"others_cpus": 0.5}, "provenance": {"cpu": "a CPU"},
        "quality": {"test": {"accuracy": test}},
        "energy_activation": rng.uniform(1, 2), "energy_gauge_fixed": rng.uniform(1, 2),
        "energy_gauge_fixed_reason": None, "zero_fraction": 0.5, "near_zero_fraction": 0.7,
        "macs_dense": 1000.0, "macs_effective": 800.0, "silent_units": 3,
        "compaction": {
            "exact": 3, "approximate": seed, "units": {"a": [256, 200], "b": [256, 100 + seed]},
            "macs": [1000.0, 700.0], "macs_effective": 600.0,
            "quality": {"test": {"accuracy": smaller}},
            "latency": [{"batch": 32, "speedup": 1.5 + seed}, {"batch": 1, "speedup": 1.0}],
        },
        **values,
    }  # fmt: skip


def test_tables_pair_seeds_and_leave_out_what_ended_badly(study):
    lines = [line(study, seed, lam) for seed in range(4) for lam in (0, "budget")]
    bad = line(study, 9, "budget", status="diverged")
    for key in ("quality", "compaction"):
        del bad[key]
    found = study["transformer_tables"].summary([*lines, bad], planned=10)
    (cell,) = found["cells"]
    zero, budget = ([one["quality"]["test"]["accuracy"] for one in lines[i::2]] for i in (0, 1))
    change = 100 * (np.array(budget) - np.array(zero))
    low, high = stats.t.interval(0.95, 3, change.mean(), stats.sem(change))
    got = cell["difference"]["quality"]
    assert [got[key] for key in ("estimate", "low", "high")] == pytest.approx(
        [change.mean(), low, high]
    )
    assert cell["0"]["speedup"]["speedup_32"]["estimate"] == pytest.approx(
        (1.5 * 2.5 * 3.5 * 4.5) ** 0.25
    )
    assert (cell["0"]["units_before"], cell["0"]["units"]["estimate"]) == (512, 301.5)
    assert (found["recorded"], cell["not_ok"], found["ended"]["diverged"]) == (9, 1, 1)
    page = study["transformer_tables"].as_markdown(found)
    assert "BERT-style, ReLU: left out of the means, for they ended badly: 1." in page
    assert "whose lambda ended at its highest, with room in the margin: 3." in page
    assert f"{change.mean():+.2f} [{low:+.2f}, {high:+.2f}]" in page


def test_a_run_that_ended_badly_says_nothing_of_the_gauge(study):
    gelu = {**line(study, 0, 0)["settings"], "activation": "gelu"}
    why = {"energy_gauge_fixed": None, "energy_gauge_fixed_reason": "gelu has none"}
    good = line(study, 0, 0, settings=gelu, **why)
    bad = line(study, 1, 0, settings=gelu | {"seed": 1}, status="diverged")
    tables = study["transformer_tables"]
    (cell,) = tables.summary([good, bad], planned=2)["cells"]
    assert cell["gauge_reason"] == "gelu has none"
    assert tables.trained_row(cell, "0")[-2] == "gelu has none"


def test_runs_are_resumed_and_a_line_that_is_none_is_named(study, tmp_path, capsys):
    script = study["transformer"]
    lines = [line(study, 0, lam) for lam in (0, "budget")]
    with script.Runs(tmp_path) as runs:
        for one in lines:
            runs.append(one)
    with (tmp_path / "runs.jsonl").open("a") as file:
        file.write('{"settings": {')  # torn
    with script.Runs(tmp_path) as runs:
        assert runs.lines == lines
        settings = script.planned(["bert"], 1)
        assert [runs.find(one) is None for one in settings] == [False, False, True, True]
    (tmp_path / "runs.jsonl").write_text("[]\n")
    with pytest.raises(SystemExit) as left:
        script.main([f"--out={tmp_path}"])
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "runs.jsonl:1: not a run" in said
