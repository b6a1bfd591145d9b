from __future__ import annotations

from tiny_search import search_of

from minaction.search.findings import VARIED, label
from minaction.search.space import architectures
from minaction.study.design import MODEL_OPTIONS
from minaction.study.study_file import Factors


def test_all_that_a_space_can_cross_is_part_of_a_name():
    """Its data set aside, of which a search has one."""
    assert sorted([*VARIED, *MODEL_OPTIONS]) == sorted(Factors.model_fields.keys() - {"dataset"})


def test_an_option_that_a_model_does_not_have_is_no_part_of_its_name(tmp_path):
    kernels = ("depth = [1, 2]", "depth = [1, 2]\nkernel = [3, 5]")
    models = ('model = ["mlp", "gru"]', 'model = ["mlp", "cnn"]')
    search = search_of(tmp_path / "search.toml", kernels, models)
    configs = architectures(search.crossing).values()
    names = {label(search, config) for config in configs}
    # as a row of the page, which has every option
    assert names == {label(search, {"kernel": None, **config}) for config in configs}
    assert {name.partition(" ")[0] for name in names} == {"mlp", "cnn"}
    assert all(("kernel = " in name) == name.startswith("cnn") for name in names)
