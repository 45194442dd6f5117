"""Profiles: every one loads, and a slip in a key or value is named."""

import msgspec
import pytest
from planted import corpus

from tacred_utils.ground.errors import UserError
from tacred_utils.runs import profile
from tacred_utils.runs.experiments import planned
from tacred_utils.runs.profile import load_profile, parse_overrides, profile_names


def test_every_profile_loads_with_every_variant():
    assert profile_names() == ["open", "paper", "sample", "smoke"]
    for name in profile_names():
        profile = load_profile(name)
        assert profile.settings("svm") != profile.settings("svm", "paper")


@pytest.mark.parametrize("name", profile_names())
def test_the_controlled_encoder_and_decoder_differ_only_in_kind_and_in_the_piece_that_is_read(name):
    encoder, decoder = (
        msgspec.to_builtins(load_profile(name).settings(family, "controlled")) for family in ("bert", "gpt2")
    )
    different = {key: (encoder[key], decoder[key]) for key in encoder if encoder[key] != decoder[key]}
    assert different == {"model": ("own_encoder", "own_decoder"), "pooling": ("first", "last")}


def test_profiles_state_only_differences():
    smoke, sample = load_profile("smoke"), load_profile("sample")
    assert smoke.svm == sample.svm and smoke.scales != sample.scales


def test_overrides_are_values_not_code():
    assert parse_overrides(["c=0.5", "kernel=rbf", "smote=true", "max_rows = 10"]) == {
        "c": 0.5, "kernel": "rbf", "smote": True, "max_rows": 10,
    }  # fmt: skip
    assert parse_overrides(['groups={"a":["b"]}', "weights={a=1.5}"]) == {"groups": {"a": ["b"]}, "weights": {"a": 1.5}}
    assert parse_overrides(["kernel=__import__('os')"]) == {"kernel": "__import__('os')"}
    with pytest.raises(UserError, match="key=value"):
        parse_overrides(["c"])


@pytest.mark.parametrize(
    "overrides, expected",
    [
        ({"kernal": "rbf"}, "did you mean kernel"),
        ({"c": -1.0}, "c: "),
        ({"c": "high"}, "c: "),
        ({"kernel": "poly"}, "kernel: "),
    ],
)
def test_a_slip_is_named(overrides, expected):
    with pytest.raises(UserError, match=expected):
        load_profile("sample").settings("svm", None, overrides)


def test_unknown_names_are_named():
    with pytest.raises(UserError, match="--profile fast: unknown; choose one of open, paper, sample, smoke"):
        load_profile("fast")
    with pytest.raises(UserError, match="--variant x: unknown for svm in profile sample; it has: paper"):
        load_profile("sample").settings("svm", "x")
    with pytest.raises(UserError, match="--family crf"):
        load_profile("sample").settings("crf")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("seeds = []", "seeds"),
        ("seeds = [1", "not valid TOML"),
        ("sedes = [1]", "did you mean seeds"),
        ("[scales]\ntrain = 2.0", "scales"),
    ],
)
def test_a_damaged_profile_is_named(tmp_path, monkeypatch, text, expected):
    for path in profile.PROFILES.glob("*.toml"):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "mine.toml").write_text(f'base = "base"\n{text}\n')
    monkeypatch.setattr(profile, "PROFILES", tmp_path)
    with pytest.raises(UserError, match=expected):
        load_profile("mine")


def test_a_profile_of_own_models_asks_for_no_weights():
    specs = {name: planned(load_profile(name), corpus()) for name in ("smoke", "sample")}
    named = {name: {getattr(spec.settings, "model", "own_") for spec in each} for name, each in specs.items()}
    assert all(model.startswith("own_") for model in named["smoke"]) and "mpnet-base" in named["sample"]
