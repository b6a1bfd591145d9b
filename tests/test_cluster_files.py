"""The files for clusters in docs/ray say what the program understands."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from minaction.commands.studies import app
from minaction.study.read_study import parse_study

FOLDER = Path(__file__).parent.parent / "docs" / "ray"
MANIFEST, SCRIPT = FOLDER / "kuberay.yaml", FOLDER / "slurm.sh"


@pytest.mark.parametrize("file", [MANIFEST, SCRIPT], ids=lambda file: file.name)
def test_its_command_has_options_that_exist(file):
    run = get_command(app).commands["run"]
    known = {name for parameter in run.params for name in parameter.opts}
    command = file.read_text().partition("minaction study run")[2].split("\n")[0]
    given = set(re.findall(r"--[a-z-]+", command))
    assert {"--out", "--executor", "--ray-address"} <= given <= known


def test_the_manifest_holds_a_study_and_a_job_that_finds_it():
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with the extra `ray`")
    config, claim, job = yaml.safe_load_all(MANIFEST.read_text())
    assert parse_study(config["data"]["study.toml"], source="manifest").run_count == 200
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    names = {volume["name"] for volume in head["volumes"]}
    assert {mount["name"] for mount in head["containers"][0]["volumeMounts"]} == names
    assert {claim["metadata"]["name"], config["metadata"]["name"]} == {
        head["volumes"][0]["persistentVolumeClaim"]["claimName"],
        head["volumes"][1]["configMap"]["name"],
    }


def test_the_script_is_one():
    bash = shutil.which("bash")
    assert bash
    assert subprocess.run([bash, "-n", SCRIPT], check=False).returncode == 0
