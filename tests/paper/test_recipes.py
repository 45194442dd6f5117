"""The paper's recipes beside ours: every row is a setting that there is, and whatever differs has its reason."""

import pytest

from tacred_utils.models.settings import FAMILIES
from tacred_utils.paper.recipes import COLUMNS, recipe
from tacred_utils.runs.profile import load_profile, profile_names

REASON = COLUMNS["reason"]


@pytest.mark.parametrize("profile", profile_names())
@pytest.mark.parametrize("family", FAMILIES)
def test_whatever_differs_has_its_reason(family: str, profile: str) -> None:
    rules = load_profile(profile)
    for corpus in (rules.corpus, *rules.further_corpora):
        table = recipe(family, rules.for_corpus(corpus))
        stated = table["paper"].where(table["paper"] != "", table["authors' code"])
        assert list(table.columns) == list(COLUMNS.values()) and table.setting.is_unique and (table.ours != "").all()
        assert (table[REASON] != "").eq(table.ours != stated).all(), table[
            (table[REASON] == "") & (table.ours != stated)
        ]


def test_values_of_ours_are_the_profiles() -> None:
    def ours(profile: str, setting: str) -> str:
        return recipe("bert", load_profile(profile)).set_index("setting").ours[setting]

    assert (ours("open", "model"), ours("paper", "model")) == ("minilm", "bert-base-uncased")
    assert (ours("open", "learning rate"), ours("paper", "learning rate")) == ("0.0002", "5e-05")


def test_profile_paper_differs_in_mended_defects_alone() -> None:
    table = recipe("bert", load_profile("paper"))
    assert set(table[table[REASON] != ""].setting) == {
        "places of the entities", "it attends along", "longest sentence, word pieces", "weights that are kept",
    }  # fmt: skip
    assert table[REASON].str.contains(r"D\d").sum() == 4
