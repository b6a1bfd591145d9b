from __future__ import annotations

import numpy as np
import pytest
import torch

from minaction.data.load import load_dataset
from minaction.data.sources import SOURCES
from minaction.errors import DataFileError

SECONDS = 600
START = 1_644_227_574
TABLE = "Processed_data/Improved_All_Combined_hr_rsp_binary.csv"
PEOPLE = range(2, 36)


def table(**changed):
    """Everybody rests, is under stress and rests again; the heart follows."""
    label = np.repeat([0, 1, 0], SECONDS // 3)
    lines = ["Participant,HR,respr,Time(sec),Label"]
    for person in PEOPLE:
        for i, stress in enumerate(label):
            row = {"HR": person + 20 * stress + i % 7, "respr": 12 + i % 5, "Label": stress}
            row |= {"time": START + 9 + i} | {
                key: values[i] for key, values in changed.items() if person == 7 and i in values
            }
            lines.append(f"{person},{row['HR']},{row['respr']},{row['time']},{row['Label']}")
    return "\n".join(lines) + "\n"


def four_hertz(values):
    return "\n".join([f"{START}.000000", "4.000000", *map(str, values)]) + "\n"


@pytest.fixture(scope="module")
def contents():
    ramp = np.arange(4 * (SECONDS + 20))
    beats = [f"{t},{0.8 + t % 3 / 10}" for t in range(3, SECONDS, 2)]
    kinds = {
        "EDA": four_hertz(ramp),
        "TEMP": four_hertz(30 + ramp % 11),
        "IBI": "\n".join([f"{START}.000000, IBI", *beats]) + "\n",
    }
    return {TABLE: table()} | {
        f"Raw_data/S{person:02}/{kind}.csv": text
        for person in PEOPLE
        for kind, text in kinds.items()
    }


@pytest.fixture
def wrist(tmp_path, unchecked, contents):
    unchecked("stress-predict")
    assert {file.name for file in SOURCES["stress-predict"].files} == contents.keys()
    for name, text in contents.items():
        path = tmp_path / "stress-predict" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_windows_of_runs_by_person(wrist):
    dataset = load_dataset("stress-predict", wrist)
    people = [set(split.groups.tolist()) for split in dataset.splits().values()]
    assert people[1:] == [{6, 11, 16, 21, 26, 31}, {5, 10, 15, 20, 25, 30, 35}]
    assert sum(map(len, people)) == len(set.union(*people)) == 34
    # (200 - 60) // 30 + 1 windows in each of three runs.
    assert len(dataset.test) == 7 * 3 * 5
    assert torch.equal(dataset.test.x[:, :, 0].mean(1) > 0, dataset.test.y == 1)


def test_channels_of_a_person_are_standardised_seconds_in_step(wrist):
    dataset = load_dataset("stress-predict", wrist)
    conductance = dataset.test.x[dataset.test.groups == 5][:, :, 1 + 1]
    # A ramp stays a ramp of one slope: that of 600 seconds with deviation 1.
    slope = 1 / np.arange(SECONDS).std()
    assert torch.allclose(conductance.diff(dim=1), torch.tensor(slope).float(), atol=1 / 4096)


def test_isolated_gaps_of_the_heart_rate_are_filled(wrist):
    path = wrist / "stress-predict" / TABLE
    path.write_text(table(HR={100: ""}))
    filled = load_dataset("stress-predict", wrist)
    # Linear between the neighbours.
    path.write_text(table(HR={100: 7 + (99 % 7 + 101 % 7) / 2}))
    assert load_dataset("stress-predict", wrist).fingerprint == filled.fingerprint


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        (TABLE, table(HR=dict.fromkeys(range(100, 107), "")), "lacks 1% of the heart rate of 7"),
        (TABLE, table(respr={9: "nan"}), "has NaN or text outside the heart rate"),
        (TABLE, table(Label={9: "two"}), "has NaN or text outside the heart rate"),
        (TABLE, table(Label={9: 2}), "has labels other than 0 and 1"),
        (TABLE, table(time={9: START}), "has times out of order"),
        (TABLE, "Participant,HR,Time(sec),Label\n2,3,4,0\n", "has no column 'respr'"),
        (TABLE, "", "is not a table"),
        (TABLE, "Participant,HR,respr,Time(sec),Label\n99,3,4,5,0\n", "has a participant 99"),
        ("Raw_data/S07/EDA.csv", "1.0\n4.0\n1\nx\n", "is not a table of numbers"),
        ("Raw_data/S07/EDA.csv", "1.0\n4.0\n1\nnan\n", "has NaN"),
        ("Raw_data/S07/EDA.csv", "1.0\n8.0\n1\n1\n1\n1\n", "at 4 Hz"),
        ("Raw_data/S07/TEMP.csv", "", "has rows without 1 columns, or none"),
        ("Raw_data/S07/TEMP.csv", "1.0\n4.0\n", "at least a second"),
        ("Raw_data/S07/IBI.csv", "1.0, IBI\n3,0.8\n4\n", "has rows without 2 columns"),
        ("Raw_data/S07/IBI.csv", "1.0, IBI\n3,0.8\n2,0.8\n", "has times out of order"),
        ("Raw_data/S07/IBI.csv", "1.0, IBI\n", "has no intervals between beats"),
    ],
)
def test_names_file_and_fix(wrist, name, text, problem):
    path = wrist / "stress-predict" / name
    path.write_text(text)
    with pytest.raises(DataFileError) as caught:
        load_dataset("stress-predict", wrist)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert problem in message
    assert "\n" not in message
    assert message.endswith("delete it and run `minaction data fetch stress-predict`")


def test_missing_person(wrist, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    (wrist / "stress-predict/Raw_data/S09/TEMP.csv").unlink()
    with pytest.raises(DataFileError, match=r"S09/TEMP\.csv: missing and not downloaded from http"):
        load_dataset("stress-predict", wrist)


def test_real_recordings(real_data):
    if not (real_data / "stress-predict").exists():
        pytest.skip(f"{real_data / 'stress-predict'} is not here")
    dataset = load_dataset("stress-predict", real_data)
    assert [len(split) for split in dataset.splits().values()] == [2104, 599, 701]
    assert dataset.fingerprint == (
        "fd9e1e5d2c3220501b4d55f75eedc510ca0fcc9d3ce3f05c7d683b9f7fcdc7ef"
    )
