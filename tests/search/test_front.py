from __future__ import annotations

import pytest
from tiny_search import search_of

from minaction.search.front import (
    TRIAL_SEED,
    chosen_of,
    confirmed_front,
    first_front,
    to_confirm,
    with_seed,
)
from minaction.search.space import architectures
from minaction.study.design import run_id
from minaction.study.journal import Record, RunStatus

# accuracy with one seed and with the seeds that confirm it, energy; by the order of the space
NETWORKS = [
    (0.95, (0.80, 0.82), 100.0),
    (0.94, (0.93, 0.95), 90.0),
    (0.92, (0.92, 0.92), 10.0),
    (0.91, (0.91, 0.91), 20.0),
    (0.50, (0.50, 0.50), 1.0),
]


def recorded(config, accuracy, energy, status=RunStatus.OK):
    metrics = {"val_accuracy": accuracy, "energy_gauge_fixed": energy, "macs_dense": 1000}
    return Record(run_id=run_id(config), status=status, config={**config}, metrics=metrics)


@pytest.fixture
def make(tmp_path):
    """A search of two objectives and its records."""

    def made(*changes, unconfirmed=()):
        search = search_of(tmp_path / "search.toml", (', "macs"]', "]"), *changes)
        records = []
        for number, config in enumerate(list(architectures(search.crossing).values())[:5]):
            accuracy, again, energy = NETWORKS[number]
            first = recorded({**config, "seed": TRIAL_SEED}, accuracy, energy)
            records.append(first)
            for place, later in enumerate(again, start=1):
                status = RunStatus.STOPPED if number in unconfirmed else RunStatus.OK
                run = with_seed(first, TRIAL_SEED + place)
                records.append(recorded(run, later, energy, status))
        return search, records

    return made


def energies(members):
    return [member.values["energy_gauge_fixed"] for member in members]


def test_who_was_lucky_with_one_seed_is_not_on_the_front_of_the_others(make):
    search, records = make()
    assert len(first_front(search, records)) == 4  # all but the one dearer and worse than another
    front = confirmed_front(search, records)
    ahead = [member for member in front.members if member.on_front]
    assert energies(ahead) == pytest.approx([1.0, 10.0, 90.0])
    assert all(member.membership == 1 for member in ahead)
    assert front.reference == pytest.approx({"accuracy": 0.5, "energy_gauge_fixed": 100.0})


def test_the_rule_chooses(make):
    search, records = make()
    assert chosen_of(search, confirmed_front(search, records)).accuracy == pytest.approx(0.92)
    search, records = make(("margin = 0.05", 'rule = "most-accurate"'))
    assert chosen_of(search, confirmed_front(search, records)).accuracy == pytest.approx(0.94)
    search, records = make(("margin = 0.05", "margin = 0.9"))
    assert chosen_of(search, confirmed_front(search, records)).accuracy == pytest.approx(0.5)


def test_nothing_below_the_floor_is_on_a_front(make):
    search, records = make(("margin = 0.05", "margin = 0.9\nfloor = 0.6"))
    front = confirmed_front(search, records)
    assert chosen_of(search, front).accuracy == pytest.approx(0.92)
    assert front.reference["accuracy"] == pytest.approx(0.91)


def test_a_front_is_none_before_each_seed_has_confirmed_it(make):
    search, records = make()
    missing = run_id(to_confirm(search, first_front(search, records))[-1])
    assert confirmed_front(search, [r for r in records if r.run_id != missing]) is None


def test_who_does_not_end_well_with_every_seed_is_no_part_of_it(make):
    search, records = make(unconfirmed=[2])
    front = confirmed_front(search, records)
    assert [record.run_id for record in front.unconfirmed] == [records[6].run_id]
    assert 10.0 not in energies(front.members)
