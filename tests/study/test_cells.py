from __future__ import annotations

from real_study import study_of

from minaction.study.cells import Cell, cells_of
from minaction.study.design import runs


def test_runs_of_one_speed_are_one_cell_and_their_epochs_add_up():
    study = study_of(
        seeds=3, model='["mlp", "cnn"]\nlr = [1e-3, 1e-2]', epochs=4, train="parameters = 5_000"
    )
    cells = cells_of(runs(study))
    assert [cell.model for cell in cells] == ["mlp", "cnn"]
    assert {cell.epochs for cell in cells} == {3 * 2 * 2 * 4}  # seeds, lambdas, rates
    assert sum(cell.epochs for cell in cells) == sum(config["epochs"] for config in runs(study))
    assert cells[0] == Cell(
        dataset="digits", model="mlp", energy="activation", batch_size=32, parameters=5000,
        epochs=48, lr=1e-3,
    )  # fmt: skip


def test_what_decides_the_speed_makes_another_cell():
    base = runs(study_of())[0]
    others = [
        {**base, key: value}
        for key, value in {
            "dataset": "mnist", "model": "cnn", "energy": "l1", "batch_size": 8, "parameters": 900,
            "ratio": "1/2",
        }.items()
    ]  # fmt: skip
    assert len(cells_of([base, *others])) == 7


def test_how_a_model_starts_does_not_decide_its_speed():
    base = runs(study_of())[0]
    (cell,) = cells_of([{**base, "init": "he"}, {**base, "init": "pytorch"}])
    assert (cell.init, cell.ratio) == ("he", None)


def test_different_numbers_of_epochs_add_up():
    base = runs(study_of())[0]
    (cell,) = cells_of([{**base, "epochs": 1}, {**base, "epochs": 7}])
    assert cell.epochs == 8


def test_runs_given_in_steps_add_up_too():
    base = {key: value for key, value in runs(study_of())[0].items() if key != "epochs"}
    (cell,) = cells_of([{**base, "steps": 300}, {**base, "steps": 300}])
    assert (cell.epochs, cell.steps) == (0, 600)


def test_no_runs_no_cells():
    assert cells_of([]) == []
