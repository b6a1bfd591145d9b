"""The audit as a table, a data frame and JSON."""

import json
import subprocess
import sys

import pytest

from minaction.measure.audit_result import Audit, LayerAudit
from minaction.measure.tables import WIDTH


def layer(name, **values):
    return LayerAudit(
        **{
            "name": name,
            "units": 16,
            "silent_units": 4,
            "zero_fraction": 0.5,
            "energy_activation": 30.0,
            "energy_gauge_fixed": 6.0,
            "macs_dense": 2_000_000,
            "macs_effective": 1_000_000,
            "acs_effective": 0,
            "parameters": 1500.0,
            **values,
        }
    )


def an_audit(**values):
    covered = layer("net.1")
    other = layer("net.3", energy_activation=10.0, energy_gauge_fixed=None, gauge_reason="gelu")
    rest = LayerAudit(
        name="(reads no layer)", macs_dense=4e6, macs_effective=4e6, acs_effective=0, parameters=500
    )
    total = layer(
        "total", units=32, silent_units=8, energy_activation=40.0, energy_gauge_fixed=None,
        gauge_reason="1 of 2 layers are not covered", macs_dense=8e6, macs_effective=6e6,
        acs_effective=0, parameters=3500,
    )  # fmt: skip
    found = {
        "model": "Net",
        "samples": 1200,
        "batches": 3,
        "layers": (covered, other),
        "unobserved": rest,
        "total": total,
        "not_counted": {},
        "warnings": (),
    }
    return Audit(**found | values)


def test_columns_line_up():
    lines = str(an_audit()).splitlines()[2:8]
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split() == [
        *("layer", "units", "silent", "zero", "%", "energy", "%", "gauge-fixed", "MACs", "%"),
        *("effective", "params", "%"),
    ]
    assert lines[2].split() == [
        *("net.1", "16", "4", "50.0", "30", "75", "6", "2M", "25", "1M", "1.5k", "43"),
    ]
    assert lines[3].split()[6] == "-"
    assert lines[5].split() == [
        *("total", "32", "8", "50.0", "40", "100", "-", "8M", "100", "6M", "3.5k", "100"),
    ]


@pytest.mark.parametrize("name", ["encoder.layers.10.intermediate." * 5 + "act", "x" * 200])
def test_long_names_are_folded_and_the_table_stays_readable(name):
    values = {"units": 123_456, "energy_activation": 1.234e-08, "energy_gauge_fixed": 1.234e-10}
    found = an_audit(layers=(layer(name, **values),), warnings=(f"the energy of {name!r} ...",))
    lines = str(found).splitlines()
    if "." in name:
        assert max(map(len, lines)) <= WIDTH
    column = "".join(line.split(" ")[0] or line.strip() for line in lines[4:])
    assert name in column.replace("(reads", "")


def test_notes_say_what_is_missing_and_why():
    text = str(an_audit(not_counted={"cdist": 2}, warnings=("beware",)))
    assert "beware" in text
    assert "no gauge-fixed energy (gelu): net.3" in text
    assert "MACs not counted: cdist (2 calls)" in text
    assert max(map(len, text.splitlines())) <= WIDTH


def test_json_has_every_figure_and_share():
    found = json.loads(an_audit().to_json())
    assert found == an_audit().to_dict()
    assert found["layers"][0] | {"name": "net.1"} == {
        "name": "net.1",
        "units": 16,
        "silent_units": 4,
        "zero_fraction": 0.5,
        "energy_activation": 30.0,
        "energy_activation_share": 0.75,
        "energy_gauge_fixed": 6.0,
        "energy_gauge_fixed_share": None,
        "gauge_reason": None,
        "macs_dense": 2_000_000,
        "macs_dense_share": 0.25,
        "macs_effective": 1_000_000,
        "macs_effective_share": 1 / 6,
        "acs_effective": 0,
        "acs_effective_share": None,
        "parameters": 1500.0,
        "parameters_share": 1500 / 3500,
    }
    assert found["layers"][1]["gauge_reason"] == "gelu"
    assert found["unobserved"]["macs_dense_share"] == 0.5
    assert found["total"]["parameters_share"] == 1.0
    assert "\n" not in an_audit().to_json(indent=None)


def test_shares_of_the_rows_add_up_to_one():
    found = an_audit().to_dict()
    rows = [*found["layers"], found["unobserved"]]
    for column in ("macs_dense_share", "macs_effective_share", "parameters_share"):
        assert sum(row[column] for row in rows) == pytest.approx(1)


def test_the_frame_has_a_row_per_layer_one_for_the_rest_and_one_for_all():
    frame = an_audit().to_frame()
    assert list(frame.index) == ["net.1", "net.3", "(reads no layer)", "total"]
    assert frame.loc["net.1", "energy_gauge_fixed"] == 6
    assert frame.loc["net.3", ["energy_gauge_fixed"]].isna().all()
    assert frame.loc["total", "units"] == 32
    assert frame["units"].isna().sum() == 1
    assert str(frame["units"].dtype) == "Int64"


def test_no_energy_is_not_zero_energy():
    rest = LayerAudit(
        name="(reads no layer)", macs_dense=4, macs_effective=4, acs_effective=0, parameters=5
    )
    total = LayerAudit(name="total", macs_dense=4, macs_effective=4, acs_effective=0, parameters=5)
    found = an_audit(layers=(), unobserved=rest, total=total)
    assert found.to_dict()["total"]["energy_activation"] is None
    assert str(found).splitlines()[4].split() == [
        *("(reads", "no", "layer)", "4", "100", "4", "5", "100")
    ]


def test_the_value_needs_no_torch():
    code = "import sys, minaction.measure.audit_result; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
