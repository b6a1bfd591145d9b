from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minaction.errors import StudyFileError
from minaction.study.design import run_id, runs
from minaction.study.read_study import MAX_BYTES, load_study, parse_study
from minaction.study.study_file import Analysis, Execution, Factors, Header, Study, Train

GOOD = """\
[study]
name = "lambda-sweep"
seeds = 10
[factors]
dataset = ["mnist", "fashion-mnist"]
model = ["cnn"]
energy = ["activation"]
lam = [0, 1e-5, 1e-4, 1e-3, 1e-2]
[train]
epochs = 5
batch_size = 128
lr = 1e-3
[execution]
precision = "float32"
[analysis]
margin = 0.005
"""
LEAST = '[study]\nname = "s"\nseeds = 1\n[factors]\ndataset = "digits"\nmodel = "mlp"\n'


def problem_of(text: str) -> str:
    with pytest.raises(StudyFileError) as caught:
        parse_study(text, source="s.toml")
    message = str(caught.value)
    assert message.isprintable()
    return message


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def test_a_good_file_is_read(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(GOOD)
    study = load_study(path)
    assert (study.name, study.seeds, study.run_count) == ("lambda-sweep", 10, 100)
    assert study.factors.lam == (0.0, 1e-5, 1e-4, 1e-3, 1e-2)
    assert study.execution.precision == "float32"
    assert study.analysis.margin == 0.005


def test_defaults():
    study = parse_study(LEAST, source="s.toml")
    assert study.levels == {
        "dataset": ("digits",),
        "model": ("mlp",),
        "energy": ("activation",),
        "lam": (0.0,),
        "epochs": (5,),
        "batch_size": (128,),
        "lr": (1e-3,),
        "weight_decay": (0.0,),
        "parameters": (100_000,),
    }
    assert study.train.save_weights is False
    assert study.execution.model_dump() == dict.fromkeys(
        ("precision", "compile", "channels_last"), "auto"
    )
    assert study.analysis.model_dump() == {
        "margin": 0.005,
        "rule": "largest-non-inferior",
        "alpha": 0.05,
    }


def test_a_factor_takes_the_place_of_the_shared_setting():
    study = parse_study(LEAST + "epochs = [1, 3]\nlr = 0.01\n", source="s.toml")
    assert study.levels["epochs"] == (1, 3)
    assert study.levels["lr"] == (0.01,)
    assert parse_study(study.to_toml(), source="copy") == study


def test_runs_may_be_given_in_steps():
    study = parse_study(LEAST + "[train]\nsteps = 400\nvalidate_every = 20\n", source="s.toml")
    assert "epochs" not in study.levels
    assert study.length == {"steps": 400, "validate_every": 20}
    assert parse_study(study.to_toml(), source="copy") == study
    other = parse_study(LEAST + "[train]\nsteps = 400\n", source="s.toml")
    assert other.sha256 != study.sha256


@pytest.mark.parametrize("switch", ["true", "false", '"auto"'])
def test_execution_switches(switch):
    study = parse_study(LEAST + f"[execution]\ncompile = {switch}\n", source="s.toml")
    assert study.execution.compile == {"true": True, "false": False, '"auto"': "auto"}[switch]


def test_a_study_is_frozen_and_pickles():
    study = parse_study(GOOD, source="s.toml")
    with pytest.raises(ValueError, match="frozen"):
        study.train.epochs = 6  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(study)) == study


def test_the_spelling_of_numbers_changes_nothing():
    study = parse_study(GOOD, source="s.toml")
    spelled = GOOD.replace("[0, 1e-5, 1e-4", "[-0.0, 0.00001, 1_0e-5").replace("1e-3\n", "0.0010\n")
    other = parse_study(spelled, source="s.toml")
    assert other.sha256 == study.sha256
    assert [run_id(c) for c in runs(other)] == [run_id(c) for c in runs(study)]
    assert "-0.0" not in other.to_toml()


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ('"lambda-sweep"', '"other"', False),
        ("seeds = 10", "seeds = 11", False),
        ("[0, 1e-5", "[1e-5, 0", True),
        ("[0, 1e-5", "[2e-5", False),
        ("epochs = 5\n", "", True),
        ("epochs = 5", "epochs = 6", False),
        ("epochs = 5", "save_weights = true", False),
        ('"float32"', '"auto"', False),
        ("seeds = 10", 'seeds = 10\ndescription = "why"', True),
        ("0.005", "0.01", True),
        ("[0, 1e-5", '["budget", 1e-5', False),
    ],
)
def test_the_hash_covers_what_decides_the_records(old, new, same):
    study, other = parse_study(GOOD, source="a"), parse_study(changed(old, new), source="b")
    assert (study.sha256 == other.sha256) is same
    assert (study.analysis_sha256 == other.analysis_sha256) is (new != "0.01")


BUDGETED = GOOD.replace("[0, 1e-5, 1e-4, 1e-3, 1e-2]", '[0, 0.1, "budget"]')


def test_a_budget_is_a_level_of_lambda():
    study = parse_study(BUDGETED, source="s.toml")
    assert study.factors.lam == (0.0, 0.1, "budget")
    assert study.budget_terms == {"margin": 0.005, "aim": 0.5}
    assert parse_study(study.to_toml(), source="copy") == study
    assert "[budget]" not in parse_study(GOOD, source="s.toml").to_toml()


def test_a_budget_has_a_margin_of_its_own_or_that_of_the_analysis():
    own = BUDGETED + "[budget]\nmargin = 0.02\naim = 1\n"
    assert parse_study(own, source="s").budget_terms == {"margin": 0.02, "aim": 1.0}
    shared = parse_study(BUDGETED.replace("0.005", "0.03"), source="s")
    assert shared.budget_terms["margin"] == 0.03
    # it steers the runs, so another margin is another study
    assert shared.sha256 != parse_study(BUDGETED, source="s").sha256


@pytest.mark.parametrize(("levels", "count"), [("[0, 0.1, ", 60), ("[0.1, ", 42), ("[", 22)])
def test_the_baselines_of_budgets_are_counted_where_the_levels_have_none(levels, count):
    study = parse_study(BUDGETED.replace("[0, 0.1, ", levels), source="s.toml")
    assert study.run_count == count == len(runs(study))


PROXIMAL = GOOD.replace("[train]", "[train]\nproximal = true")


def test_proximal_training_is_for_the_energy_that_prices_units_by_macs():
    study = parse_study(PROXIMAL.replace('"activation"', '"unit_macs"'), source="s.toml")
    assert study.train.proximal
    assert parse_study(study.to_toml(), source="copy") == study
    plain = parse_study(GOOD.replace('"activation"', '"unit_macs"'), source="s.toml")
    assert study.sha256 != plain.sha256
    assert "[train] proximal" not in plain.settings  # hashes of older files stay
    with pytest.raises(StudyFileError, match=r"\[train\] proximal: .* \"unit_macs\" alone"):
        parse_study(PROXIMAL, source="s.toml")


def test_how_models_are_built_is_theirs_unless_the_file_says_so():
    plain = parse_study(LEAST, source="s.toml")
    assert not {"ratio", "init"} & plain.levels.keys()
    assert not any("ratio" in key or "init" in key for key in plain.settings)  # older hashes stay
    crossed = parse_study(
        LEAST + 'ratio = ["golden", 0.5, "2/3"]\n[train]\ninit = "he"\n', source="s.toml"
    )
    assert crossed.levels["ratio"] == ("golden", 0.5, "2/3")
    assert crossed.settings["[train] init"] == "he"
    assert parse_study(crossed.to_toml(), source="copy") == crossed
    assert len({plain.sha256, crossed.sha256}) == 2


def test_a_single_level_is_the_same_in_both_tables():
    one = parse_study(LEAST + "epochs = [3]\n", source="a")
    assert one.sha256 == parse_study(LEAST + "[train]\nepochs = 3\n", source="b").sha256


@given(
    description=st.text(max_size=50),
    lam=st.lists(st.floats(0, 1e300), min_size=1, max_size=4, unique=True),
    margin=st.floats(0, 1, exclude_min=True, exclude_max=True),
    sweep=st.booleans(),
)
def test_the_frozen_copy_reads_back(description, lam, margin, sweep):
    study = Study.model_validate(
        {
            "study": {"name": "s", "seeds": 2, "description": description},
            "factors": {"dataset": ["digits"], "model": ["mlp"], "lam": lam}
            | ({"weight_decay": lam} if sweep else {}),
            "analysis": {"margin": margin},
        }
    )
    copy = parse_study(study.to_toml(), source="copy")
    assert copy == study
    assert copy.to_toml() == study.to_toml()
    assert (copy.sha256, copy.analysis_sha256) == (study.sha256, study.analysis_sha256)


A_RATIO = 'expected a number or fraction above 0 and at most 4, such as "2/3", or "golden"'
A_COUNT = "expected a whole number from 1 to 1,000,000"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("epochs = 5", "epochs = true", f"[train] epochs: is true; {A_COUNT}"),
        ("epochs = 5", "epochs = 5.0", f"[train] epochs: is 5.0; {A_COUNT}"),
        ("epochs = 5", 'epochs = "5"', f'[train] epochs: is "5"; {A_COUNT}'),
        ("epochs = 5", "epochs = 0", f"[train] epochs: is 0; {A_COUNT}"),
        ("epochs = 5", "epochs = 2026-01-31", f"[train] epochs: is 2026-01-31; {A_COUNT}"),
        ("epochs = 5", f"epochs = 1{'0' * 999}", f"[train] epochs: is a huge number; {A_COUNT}"),
        ("epochs = 5", f"epochs = 0x{'f' * 9999}", f"[train] epochs: is a huge number; {A_COUNT}"),
        (
            "epochs = 5",
            f"epochs = 1{'0' * 9999}",
            "cannot be read (a number is too long); write it shorter",
        ),
        (
            "epochs = 5",
            "epochs = [1, 2]",
            "[train] epochs: is [1, 2]; a list of levels belongs in [factors]",
        ),
        ("lr = 1e-3", "ratio = 5", f"[train] ratio: is 5; {A_RATIO}"),
        ("lr = 1e-3", "ratio = true", f"[train] ratio: is true; {A_RATIO}"),
        (
            'model = ["cnn"]',
            'model = ["cnn"]\nratio = [0.5, "silver"]',
            f'[factors] ratio: level 2 is "silver"; {A_RATIO}',
        ),
        ("lr = 1e-3", 'init = "xavier"', '[train] init: is "xavier"; expected "pytorch" or "he"'),
        ("epochs = 5", "epoch = 5", "[train] epoch: unknown key; did you mean 'epochs'?"),
        ("epochs = 5", "lam = 5", "[train] lam: unknown key; it belongs in [factors]"),
        ("lr = 1e-3", "lr = nan", "[train] lr: is nan; expected a finite number greater than 0"),
        ("lr = 1e-3", "lr = inf", "[train] lr: is inf; expected a finite number greater than 0"),
        ("lr = 1e-3", "lr = true", "[train] lr: is true; expected a finite number greater than 0"),
        (
            "lr = 1e-3",
            "lr.a = 1",
            "[train] lr: is a table; expected a finite number greater than 0",
        ),
        (
            "[0, ",
            "[0, -1, ",
            '[factors] lam: level 2 is -1; expected a finite number, 0 or more, or "budget"',
        ),
        (
            "[0, ",
            "[[0], ",
            '[factors] lam: level 1 is [0]; expected a finite number, 0 or more, or "budget"',
        ),
        (
            "[0, ",
            '["budgets", ',
            '[factors] lam: level 1 is "budgets"; expected a finite number, 0 or more, or "budget"',
        ),
        (
            "[analysis]",
            "[budget]\naim = 0.5\n[analysis]",
            '[budget]: no lambda is "budget"; add it to lam in [factors]',
        ),
        (
            "[0, 1e-5, 1e-4, 1e-3, 1e-2]\n",
            '"budget"\n[budget]\nmargin = 1.0\n',
            "[budget] margin: is 1.0; expected a number between 0 and 1, both excluded, such as "
            "0.005",
        ),
        (
            "[0, 1e-5, 1e-4, 1e-3, 1e-2]\n",
            '"budget"\n[budget]\naim = -0.1\n',
            "[budget] aim: is -0.1; expected a number from 0 to 10, such as 0.5",
        ),
        ("[0, ", "[0, 0.0, ", "[factors] lam: level 0.0 is there twice; give each level once"),
        (
            "[0, ",
            "[nan, inf, -1, ",
            '[factors] lam: level 1 is nan; expected a finite number, 0 or more, or "budget"'
            " (and 2 more problems)",
        ),
        ('["cnn"]', "[]", "[factors] model: has no level; give at least one"),
        (
            '["cnn"]',
            '["cnnn"]',
            "[factors] model: level 1: unknown model \"cnnn\"; did you mean 'cnn'?",
        ),
        (
            '"fashion-mnist"',
            '"fasion-mnist"',
            '[factors] dataset: level 2: unknown data set "fasion-mnist";'
            " did you mean 'fashion-mnist'?",
        ),
        (
            '"activation"',
            '"aktivation"',
            "[factors] energy: level 1: unknown energy \"aktivation\"; did you mean 'activation'?",
        ),
        (
            '["cnn"]',
            '["cnn", "mlp", "cnn"]',
            '[factors] model: level "cnn" is there twice; give each level once',
        ),
        (
            "seeds = 10",
            "seeds = 0",
            "[study] seeds: is 0; expected a whole number from 1 to 10,000",
        ),
        ("seeds = 10", "", "[study] seeds: is missing; give a whole number from 1 to 10,000"),
        (
            '"lambda-sweep"',
            '"a\\nb"',
            "[study] name: is \"a\\u000ab\"; expected 1 to 100 letters, digits, '-', '_' or '.'",
        ),
        *(
            (
                "margin = 0.005",
                f"margin = {margin}",
                f"[analysis] margin: is {margin};"
                " expected a number between 0 and 1, both excluded, such as 0.005",
            )
            for margin in ("0", "1", "-0.1", "1.5", "nan", "false")
        ),
        (
            '"float32"',
            '"f32"',
            '[execution] precision: is "f32"; expected "auto", "float32" or "bfloat16"',
        ),
        (
            "[execution]",
            "[execution]\ncompile = 1",
            '[execution] compile: is 1; expected "auto", true or false',
        ),
        (
            "[execution]",
            "[exekution]",
            "[exekution]: unknown table or key; did you mean 'execution'?",
        ),
        ("[study]", "seeds = 3\n[study]", "[seeds]: unknown table or key; it belongs in [study]"),
        (
            "lam = ",
            "epochs = [1, 2]\nlam = ",
            "[factors] epochs: is also in [train]; keep one of the two",
        ),
        ("epochs = 5", "steps = 0", f"[train] steps: is 0; {A_COUNT}"),
        (
            "epochs = 5",
            "epochs = 5\nsteps = 9",
            "[train] steps: [train] has epochs; keep one of the two",
        ),
        (
            "[train]\nepochs = 5",
            "epochs = [5, 6]\n[train]\nsteps = 9",
            "[train] steps: [factors] has epochs; keep one of the two",
        ),
        (
            "[0, ",
            f"[{', '.join(map(str, range(1, 50_001)))}, ",
            "[factors]: the crossing has 1,000,080 runs, more than 1,000,000;"
            " give fewer levels or seeds",
        ),
        (
            "[analysis]",
            "[analysis",
            "line 15, column 10: Expected ']' at the end of a table declaration;"
            " mend the TOML there",
        ),
        (
            "lr = 1e-3",
            f"lr{'.a' * 120_000} = 1",
            "cannot be read (a key of too many parts); write it shorter",
        ),
        ("0.005", '"""', "line 17, column 1: Unterminated string; mend the TOML there"),
        ("lr = 1e-3", f"lr = {'[' * 5000}", "cannot be read (nested too deeply); write it shorter"),
    ],
)
def test_bad_files_get_one_line(old, new, problem):
    assert problem_of(changed(old, new)) == f"s.toml: {problem}"


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "\ufeff"])
def test_an_empty_file(text):
    assert problem_of(text) == ("s.toml: is empty; write at least the tables [study] and [factors]")


def test_a_missing_table_says_so():
    assert problem_of("[study]\nname = 's'\nseeds = 1\n") == (
        "s.toml: [factors]: is missing; write a line [factors] and its keys below it"
    )


def test_a_mark_before_the_text_is_no_syntax_error():
    assert parse_study("\ufeff" + GOOD, source="s") == parse_study(GOOD, source="s")


def test_names_of_files_cannot_break_the_line():
    with pytest.raises(StudyFileError) as caught:
        parse_study("", source="a\n\x1b[31mb\udcff")
    assert str(caught.value).startswith("a\\u000a\\u001b[31mb\\udcff: is empty")


def test_files_that_cannot_be_read(tmp_path):
    binary, large = tmp_path / "binary.toml", tmp_path / "large.toml"
    binary.write_bytes(b"[study]\nname = '\xff'\n")
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    expected = {
        tmp_path: "is a directory; give the path of a study file",
        tmp_path / "none.toml": "no such file; give the path of a study file",
        binary: "line 2: is not UTF-8; save the file as UTF-8",
        large: "is larger than 262,144 bytes; give a study file",
    }
    for path, problem in expected.items():
        with pytest.raises(StudyFileError) as caught:
            load_study(path)
        assert str(caught.value) == f"{path}: {problem}"


def test_reading_a_study_needs_no_torch():
    code = (
        "import sys, minaction.study.directory, minaction.study.design\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Malformed files by the hundreds, in the slow suite by the thousands: a Study or one line, never
# anything else.

KEYS = st.one_of(
    st.sampled_from([*Study.model_fields, "typo"]),
    st.sampled_from([*Header.model_fields, *Factors.model_fields]),
    st.sampled_from([*Train.model_fields, *Execution.model_fields, *Analysis.model_fields]),
    st.text(max_size=5),
)
SCALARS = st.one_of(
    st.sampled_from(
        ["0", "1", "-1", "0.5", "nan", "-inf", "true", "1e400", "-0.0", "0x" + "f" * 5000]
    ),
    st.sampled_from(['"mnist"', '"cnn"', '"activation"', '"auto"', "1979-05-27", "07:32:00"]),
    st.integers().map(str),
    st.floats().map(repr),
    st.text(max_size=8).map(lambda text: f'"{text}"'),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]")
        | st.tuples(KEYS, inner).map(lambda pair: f"{{'{pair[0]}' = {pair[1]}}}")
    ),
    max_leaves=8,
)
LINES = st.one_of(
    st.tuples(KEYS, VALUES).map(lambda pair: f"{pair[0]} = {pair[1]}"),
    KEYS.map(lambda key: f"[{key}]"),
    st.tuples(KEYS, KEYS).map(lambda pair: f"[{pair[0]}.{pair[1]}]"),
    KEYS.map(lambda key: f"[[{key}]]"),
    st.text(max_size=20),
)


ASSIGNMENTS = st.dictionaries(KEYS, VALUES, max_size=6)


def well_formed(tables: dict[str, dict[str, str]]) -> str:
    return "\n".join(
        "\n".join([f"['{table}']", *(f"'{key}' = {value}" for key, value in keys.items())])
        for table, keys in tables.items()
    )


@st.composite
def with_another_line(draw: st.DrawFn) -> str:
    lines = GOOD.splitlines()
    where = draw(st.integers(0, len(lines) - 1))
    key = lines[where].partition("=")[0]
    lines[where] = draw(LINES | VALUES.map(lambda value: f"{key} = {value}"))
    return "\n".join(lines)


@st.composite
def with_other_bytes(draw: st.DrawFn) -> bytes:
    start, length = draw(st.integers(0, len(GOOD))), draw(st.integers(0, 30))
    content = GOOD.encode()
    return content[:start] + draw(st.binary(max_size=4)) + content[start + length :]


CONTENTS = {
    "bytes": st.binary(max_size=300),
    "lines": st.lists(LINES, max_size=12).map("\n".join).map(str.encode),
    "well-formed tables": st.dictionaries(KEYS, ASSIGNMENTS, max_size=6)
    .map(well_formed)
    .map(str.encode),
    "a good file with another line": with_another_line().map(str.encode),
    "a good file with other bytes": with_other_bytes(),
}
# each example of these reads a file, and the copy of what was read: milliseconds
FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "s.toml"


def study_or_one_line(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    message = ""
    try:
        study = load_study(path)
    except StudyFileError as error:
        message = str(error)
    if message:
        assert message.startswith(f"{path}: ")
        assert message.isprintable()
        assert len(message) < len(str(path)) + 500
    else:
        assert parse_study(study.to_toml(), source="copy") == study


@pytest.mark.parametrize("kind", CONTENTS)
@FUZZ
@given(data=st.data())
def test_fuzz(scratch, kind, data):
    study_or_one_line(scratch, data.draw(CONTENTS[kind]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", CONTENTS)
@settings(FUZZ, max_examples=2000)
@given(data=st.data())
def test_fuzz_for_long(scratch, kind, data):
    study_or_one_line(scratch, data.draw(CONTENTS[kind]))
