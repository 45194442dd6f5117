"""Guards over everything that is committed: no licensed sentence, nothing unsafe, every dependency pinned."""

import re
import subprocess
from pathlib import Path

import pytest

from tacred_utils.labels import SPLITS
from tacred_utils.paths import PACKAGE, ROOT
from tacred_utils.registry import load_corpus

BINARY = {".png", ".pdf", ".gz", ".safetensors"}


def committed() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def texts() -> dict[Path, str]:
    return {
        path: path.read_text(encoding="utf-8", errors="replace") for path in committed() if path.suffix not in BINARY
    }


def test_no_sentence_of_a_licensed_corpus_is_committed(data_dir):
    """Any six words in a row of a genuine TACRED record, in plain text or as a JSON list, give it away."""
    sample = load_corpus("tacred_sample", data_dir)
    runs = {tuple(e.token[i : i + 6]) for split in SPLITS for e in sample.split(split) for i in range(len(e.token) - 5)}
    for path, text in texts().items():
        words = re.findall(r"[^\s\"\[\],]+|,", text.replace('", "', " "))
        found = next((words[i : i + 6] for i in range(len(words) - 5) if tuple(words[i : i + 6]) in runs), None)
        assert found is None, f"{path.relative_to(ROOT)}: {found}"


def test_nothing_committed_unpickles_or_evaluates():
    unsafe = re.compile(
        r"\bimport pickle|\bpickle\.load|allow_pickle=True|joblib\.load|(?<![.\w])eval\(|(?<![.\w])exec\("
    )
    for path, text in texts().items():
        if path.suffix in {".py", ".ipynb", ".sh"} and path != Path(__file__):
            assert not unsafe.search(text), path


def test_every_dependency_is_pinned_with_a_reason():
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert lines and all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][\w.]*\s+# .+", line) for line in lines)


def test_imports_run_one_way():
    """Ground knows nothing above it; models and metrics know nothing of notebooks."""
    above = {
        "labels": {"corpus", "registry", "runs", "study"}, "paths": {"corpus", "runs", "study"}, "corpus": {"registry", "runs", "study"},
        "metrics": {"runs", "study", "plots", "tables"}, "plots": {"runs", "study", "models"}, "tables": {"runs", "study", "models"},
        "models/svm": {"study", "plots", "tables", "experiments"}, "runs": {"study", "plots", "tables", "registry"},
    }  # fmt: skip
    for module, forbidden in above.items():
        text = (PACKAGE / f"{module}.py").read_text(encoding="utf-8")
        lines = re.findall(r"^\s*(?:from|import) tacred_utils(?:\.(\w+)| import (.+))", text, re.M)
        imported = {name.strip() for one, several in lines for name in [one, *several.split(",")] if name.strip()}
        assert not imported & forbidden, module


def test_what_the_runner_writes_beside_published_runs_is_ignored():
    written = ["data/runs/.runner.lock", "data/runs/logs/sample/06.log", "data/runs/stamps/sample/06.json"]
    kept = ["data/runs/sample/a-run/run.json", "data/runs/sample/a-run/predictions/test.safetensors.gz"]
    command = ["git", "check-ignore", "--no-index", *written, *kept]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if shown.returncode == 128:
        pytest.skip("not a git checkout")
    assert shown.stdout.split() == written
