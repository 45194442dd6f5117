"""Hostile text stays text, nothing is pickled, damaged or hostile models are refused: with models that are really trained."""

import gzip
import io
import json
import subprocess
import sys
import zipfile
from dataclasses import replace

import pandas as pd
import pytest

from tacred_utils.__main__ import main
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION, SPLITS
from tacred_utils.ground.paths import ROOT
from tacred_utils.notebook import study, tables
from tacred_utils.runs.store import find_runs, load_model

SCRIPT = "<script>alert(1)</script>"
LABELS = (NO_RELATION, SCRIPT, "../../../../etc/passwd", r"$\input{/etc/passwd}$")
WORDS = ("met", SCRIPT, "\u202e\x1b[31m", r"\write18{id}")
TINY = "own={layers=1,width=16,heads=2,pieces=300,steps=1,learning_rate=0.001,batch_size=8}"
FAMILIES = {
    "svm": [],
    "bilstm": ["--profile", "smoke", "--set", "epochs=1", "--set", "hidden=8", "--set", "word_dim=8"],
    "bert": ["--profile", "smoke", "--set", "model=own_encoder", "--set", "epochs=1", "--set", TINY],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a hostile corpus and a run of each family of models on it."""
    folder = tmp_path_factory.mktemp("security")
    (folder / "mine").mkdir()
    for split in SPLITS:
        rows = [
            {"id": f"{split}-{SCRIPT}-{i}", "relation": label, "token": ["Ann", word, SCRIPT], "subj_start": 0, "subj_end": 0,
             "obj_start": 2, "obj_end": 2, "subj_type": "../PERSON", "obj_type": f"TITLE{i % 2}{SCRIPT}"}
            for i, (label, word) in enumerate(list(zip(LABELS, WORDS, strict=True)) * 4)
        ]  # fmt: skip
        (folder / "mine" / f"{split}.json").write_text(json.dumps(rows))
    for family, more in FAMILIES.items():
        where = ["--corpus", str(folder / "mine"), "--results", str(folder / "results")]
        assert main(["train", "--family", family, "--task", "joint", *where, *more]) == 0
    return folder


def pickled(data: bytes) -> bool:
    """Whether bytes are a pickle, an array of objects, or an archive that holds either."""
    if data.startswith(b"\x1f\x8b"):
        return pickled(gzip.decompress(data))
    if data.startswith(b"PK"):
        archive = zipfile.ZipFile(io.BytesIO(data))
        return any(name.endswith((".pkl", ".pickle")) or pickled(archive.read(name)) for name in archive.namelist())
    return data[:1] == b"\x80" and data[1:2] <= b"\x05" or data[:6] == b"\x93NUMPY" and b"'|O'" in data[:200]


def test_a_pickle_would_be_seen():
    pickle = b"\x80\x04}\x94."
    with zipfile.ZipFile(archive := io.BytesIO(), "w") as file:
        file.writestr("archive/data", pickle)
    assert pickled(pickle) and pickled(archive.getvalue()) and pickled(gzip.compress(pickle)) and not pickled(b"{}")


def test_no_output_of_a_training_is_a_pickle_and_none_lies_elsewhere(trained):
    runs = find_runs(trained / "results")
    assert [run.info["family"] for run in runs] == sorted(FAMILIES)
    for path in (trained / "results").rglob("*"):
        assert path.is_dir() or not pickled(path.read_bytes()), path
        assert path.suffix not in (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".ckpt"), path
    assert {path.name for path in trained.iterdir()} == {"mine", "results"}  # whatever labels and types say
    kept = {".locks", ".pretrained", *(run.folder.name for run in runs)}
    assert {path.name for path in (trained / "results" / "mine").iterdir()} == kept


def test_labels_and_words_are_text_where_they_are_shown(trained, capsys):
    run = find_runs(trained / "results")[0]
    frame = run.predictions("test").assign(sentence=[" ".join(WORDS)] * 16)
    page = tables.show(frame, SCRIPT).data
    assert "<script" not in page and "\x1b" not in page and "\u202e" not in page and "&lt;script&gt;" in page
    text = tables.latex(frame, SCRIPT, "tab:x")
    assert "\\input" not in text and "\\write" not in text and "\x1b" not in text and r"\textbackslash{}input\{" in text
    assert "<script" not in tables.markdown(frame)


def test_prose_holds_no_markup_of_a_corpus(trained, monkeypatch):
    shown = []
    monkeypatch.setattr(study, "display", lambda output, **_: shown.append(output.data))
    beside = study.Study("99", "smoke", str(trained / "mine"), results=str(trained / "results"))
    beside.__dict__["corpus"] = replace(beside.corpus, annotator=SCRIPT)
    beside.say(f"Most rows are **{SCRIPT}**.")
    beside.finding("No row of {label}.", holds=True, label=SCRIPT)
    for text in (*shown, beside._repr_markdown_()):
        assert "<script" not in text and "&lt;script>" in text


def test_a_terminal_that_lacks_a_letter_is_told_all_the_same(tmp_path):
    rows = [{"id": "a", "relation": "שלום", "token": ["a"], "subj_start": 0, "subj_end": 0, "obj_start": 0, "obj_end": 0,
             "subj_type": "É", "obj_type": "É"}]  # fmt: skip
    for split in SPLITS:
        (tmp_path / f"{split}.json").write_text(json.dumps([rows[0] | {"id": split}]))
    command = [sys.executable, "-m", "tacred_utils", "data", "check", str(tmp_path)]
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT), "PATH": ""}
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert shown.returncode == 0 and r"\u05e9" in shown.stdout and not shown.stderr


@pytest.mark.parametrize("family", ["svm", "bilstm"])
def test_a_model_that_is_damaged_anywhere_is_one_sentence(trained, family):
    [run] = [run for run in find_runs(trained / "results") if run.info["family"] == family]
    assert load_model(run)
    for path in sorted((run.folder / "model").iterdir()):
        whole = path.read_bytes()
        for size in [*range(0, len(whole) - 1, len(whole) // 12), len(whole) - 2]:
            path.write_bytes(whole[:size])
            with pytest.raises(UserError, match="holds no readable"):
                load_model(run)
        for content in (b"null", b"[]", b"{}", b"\x80\x04}\x94."):
            path.write_bytes(content)
            with pytest.raises(UserError, match="holds no readable"):
                load_model(run)
        path.write_bytes(whole)
    assert load_model(run)


def test_weights_that_are_damaged_or_bring_code_are_refused_and_no_code_runs(trained, capsys):
    [source] = [path for path in (trained / "results" / "mine" / ".pretrained").iterdir() if path.is_dir()]
    weights, config = (source / "model.safetensors").read_bytes(), json.loads((source / "config.json").read_text())
    mark = trained / "ran"
    code = f"open({str(mark)!r}, 'w')\n"
    cases = {
        "cut": {"model.safetensors": weights[: len(weights) // 2]},
        "header": {"model.safetensors": b"\xff" * 64},
        "empty": {"model.safetensors": b""},
        "config": {"config.json": b"{"},
        "list": {"config.json": b"[]"},
        "tokenizer": {"tokenizer.json": b'{"model": 1}'},
        "sizes": {"config.json": json.dumps(config | {"hidden_size": 32, "intermediate_size": 8}).encode()},
        "pickle": {"model.safetensors": None, "pytorch_model.bin": f"cbuiltins\nexec\n(V{code}tR.".encode()},
        "code": {
            "config.json": json.dumps(config | {"model_type": "odd", "auto_map": {"AutoConfig": "odd.C", "AutoModel": "odd.M"}}).encode(),
            "odd.py": code.encode(),
        },
    }  # fmt: skip
    where = ["--corpus", str(trained / "mine"), "--results", str(trained / "refused"), "--profile", "smoke"]
    for name, files in cases.items():
        folder = trained / f"weights {name}"
        folder.mkdir()
        for file in source.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        for file, content in files.items():
            (folder / file).write_bytes(content) if content is not None else (folder / file).unlink()
        assert main(["train", "--family", "bert", "--task", "joint", *where, "--set", f"model={folder}"]) == 2, name
        sentence = capsys.readouterr().err.strip()
        assert str(folder) in sentence and len(sentence.splitlines()) == 1, sentence
        assert not mark.exists() and not list(trained.glob("refused/mine/bert*"))


def test_a_hostile_archive_of_a_model_is_refused(trained):
    [run] = [run for run in find_runs(trained / "results") if run.info["family"] == "svm"]
    path = run.folder / "model" / "model.skops"
    whole = path.read_bytes()
    schema = {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode", "content": "x", "protocol": 2}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    try:
        with pytest.raises(UserError, match="holds no readable SVM"):
            load_model(run)
    finally:
        path.write_bytes(whole)


def test_cells_of_a_table_are_never_a_tag():
    frame = pd.DataFrame({SCRIPT: [SCRIPT, "<img src=x onerror=alert(1)>", "<!--", "</td>"]})
    page = tables.show(frame).data
    assert page.count("<td") == 4 and not any(bad in page for bad in ("<script", "<img", "<!--"))
