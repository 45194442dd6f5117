"""What systems are called: model and recipe, for every system of the study under every profile, and for any run."""

import msgspec
import pytest

from tacred_utils.models.pretrained import own_model
from tacred_utils.runs.experiments import NAMES, load_experiments, system_name
from tacred_utils.runs.profile import load_profile, profile_names


def name(
    family: str, variant: str | None = None, profile: str = "open", task: str | None = None, **changed: object
) -> str:
    return system_name(family, variant, load_profile(profile).settings(family, variant, changed), changed, task)


def test_a_name_says_model_and_recipe() -> None:
    assert name("bert") == "MiniLM, paper's head"
    assert name("bert", "typed_marker_punct") == "MiniLM, typed marks"
    assert name("bert", "spans", model="mpnet-base", learning_rate=5e-5) == "MPNet-base, spans"
    assert name("bert", profile="sample") == "MiniLM, 2 layers, paper's head"
    assert name("gpt2") == "SmolLM2-135M (4-bit, dequantised), paper's recipe"
    assert name("bilstm", "pa_lstm", words="minilm", tune_words=False) == "PA-LSTM, MiniLM's vectors"
    assert name("bert", extra_layer=False, upsample=0.5) == "MiniLM, paper's head, extra_layer=False, upsample=0.5"
    assert name("bert", defects=["batch_as_time"]) == "MiniLM, paper's head, defects=batch_as_time"
    assert name("bert", model="/some/where/my-bert") == "my-bert, paper's head"
    assert name("bert", model="someone/bert@main") == "bert, paper's head"


def test_only_the_papers_models_carry_their_names() -> None:
    assert name("bert", profile="paper") == "BERT-base, paper's recipe"
    assert name("gpt2", profile="paper") == "GPT-2, paper's recipe"
    for model, wanted in (("bert-base-uncased", "BERT-base"), ("gpt2", "GPT-2")):
        assert [key for key, shown in NAMES["models"].items() if shown == wanted] == [model]
    assert name("gpt2", profile="paper", marks="typed_marker_punct") == "GPT-2, paper's head, typed marks"
    for profile, corpus in [
        (name, corpus) for name in profile_names() for corpus in ("redocred_small", "conll04", "sample")
    ]:
        found = load_profile(profile).for_corpus(corpus)
        for entry in load_experiments():
            model = getattr(found.settings(entry.family, entry.variant, entry.set), "model", "")
            shown = entry.name(found, "joint")
            assert ("BERT-base" in shown) == (model == "bert-base-uncased") and ("GPT-2" in shown) == (model == "gpt2")
            assert ("stand-in" in shown) == model.startswith("own_")


def test_the_paper_has_no_joint_svm() -> None:
    assert name("svm", "paper", task="detection") == name("svm", "paper", task="relation_only") == "SVM, paper's recipe"
    assert name("svm", "paper", task="joint") == "SVM, paper's features, joint (not in the paper)"
    assert name("svm", "paper") == "SVM, paper's features"


@pytest.mark.parametrize("profile", profile_names())
def test_systems_that_differ_have_names_that_differ(profile: str) -> None:
    found = load_profile(profile)
    systems = {
        (entry.family, entry.variant, msgspec.json.encode(entry.set)): entry.name(found)
        for entry in load_experiments()
        if not entry.ablation
    }
    assert len(set(systems.values())) == len(systems)


def test_every_variant_has_a_name() -> None:
    for family, recipes in NAMES["recipes"].items():
        named = {*recipes, *(NAMES["marks"] if family == "bert" else ())}
        assert named == {"", *getattr(load_profile("paper"), family).get("variants", {})}


def test_an_own_models_size_is_counted() -> None:
    own = load_profile("open").settings("gpt2", None, {"model": "own_decoder"}).own
    assert own.parameters == own_model("own_decoder", own, own.pieces, 0).base_model.num_parameters()
    assert name("gpt2", "controlled").startswith("1.6 M decoder (own, offline stand-in), ")
