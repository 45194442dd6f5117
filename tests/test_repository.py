"""Guards over everything that is committed: no licensed sentence, nothing unsafe, every dependency pinned."""

import ast
import gzip
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tacred_utils.ground.labels import SPLITS
from tacred_utils.ground.paths import PACKAGE, ROOT
from tacred_utils.runs.profile import load_corpus

BINARY = {".png", ".pdf"}
UNSAFE = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def committed() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def texts() -> dict[Path, str]:
    found = {path: path.read_bytes() for path in committed() if path.suffix not in BINARY}
    return {
        path: (gzip.decompress(data) if path.suffix == ".gz" else data).decode(errors="replace")
        for path, data in found.items()
    }


def given_away(text: str, runs: set[tuple[str, ...]]) -> list[str] | None:
    """Six words in a row of a licensed sentence, in plain text or as a JSON list; None where there are none."""
    words = re.findall(r"[^\s\"\[\],]+|,", re.sub(r'\\?",(?:\s|\\n)*\\?"', " ", text))
    return next((words[i : i + 6] for i in range(len(words) - 5) if tuple(words[i : i + 6]) in runs), None)


def test_no_sentence_of_a_licensed_corpus_is_committed(data_dir):
    """Any six words in a row of a genuine TACRED record give it away; packed files are unpacked."""
    sample = load_corpus("tacred_sample", data_dir)
    runs = {tuple(e.token[i : i + 6]) for split in SPLITS for e in sample.split(split) for i in range(len(e.token) - 5)}
    longest = max(sample.test, key=lambda example: len(example.token)).token
    lists = [json.dumps(longest), json.dumps(longest, indent=1), json.dumps(longest, separators=(",", ":"))]
    for planted in (" ".join(longest), *lists, *map(json.dumps, lists)):
        assert given_away(f"before {planted} after", runs), planted
    for path, text in texts().items():
        assert given_away(text, runs) is None, path.relative_to(ROOT)


def test_nothing_committed_unpickles_or_evaluates():
    unsafe = re.compile(
        r"\bimport pickle|\bpickle\.load|allow_pickle=True|joblib\.load|(?<![.\w])eval\(|(?<![.\w])exec\("
    )
    for path, text in texts().items():
        if path.suffix in {".py", ".ipynb", ".sh"} and path != Path(__file__):
            assert not unsafe.search(text), path


def unsafe_calls(code: str) -> list[str]:
    """What a Python source does that could run code from data: imports of picklers, eval, exec, reading a pickle."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            found += [name for name in names if name.partition(".")[0] in UNSAFE]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("eval", "exec", "torch.load", "torch.save") or called.endswith(("read_pickle", "to_pickle")):
                found.append(called)
            safe = {"allow_pickle": "False", "trust_remote_code": "False"}
            found += [kw.arg for kw in node.keywords if kw.arg in safe and ast.unparse(kw.value) != safe[kw.arg]]
    return found


def test_no_python_that_is_committed_pickles_or_evaluates():
    for code in (
        "from pickle import loads",
        "import joblib.memory",
        "eval(x)",
        "torch.load(f)",
        "pd.read_pickle(f)",
        "np.load(f, allow_pickle=True)",
    ):
        assert unsafe_calls(code)
    assert not unsafe_calls("model.eval()")
    for path, text in texts().items():
        cells = json.loads(text)["cells"] if path.suffix == ".ipynb" else []
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"] or [text]
        for source in sources if path.suffix in {".py", ".ipynb"} else []:
            assert not unsafe_calls(source), path


def test_every_dependency_is_pinned_with_a_reason():
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert lines and all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][\w.]*\s+# .+", line) for line in lines)


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("data/runs/conll04/.locks/a-run.lock", True),
        ("data/runs/sample/a-run/run.json", True),
        ("data/runs/conll04/a-run/run.json", False),
        ("figures/sample/02_scores.pdf", True),
        ("figures/mine/tables/02_scores.csv", True),
        ("figures/redocred_small/02_scores.pdf", False),
        ("figures/published/tables/10_claims.md", False),
        ("notebooks/executed/sample/02_svm.ipynb", True),
        ("notebooks/executed/02_svm.ipynb", False),
        ("results/figures/sample/02_scores.pdf", True),
    ],
)
def test_what_any_run_may_leave_is_ignored_and_what_people_read_is_not(path, ignored):
    shown = subprocess.run(["git", "check-ignore", "--no-index", "-q", path], cwd=ROOT)
    if shown.returncode == 128:
        pytest.skip("not a git checkout")
    assert (shown.returncode == 0) == ignored


def test_nothing_is_committed_of_the_synthetic_corpus():
    kept = ("data", "figures", "notebooks")
    parts = [path.relative_to(ROOT).parts for path in committed()]
    assert not [part for part in parts if part[0] in kept and "sample" in part]


def test_a_checkout_changes_no_line_ends(tmp_path):
    """As with `core.autocrlf`, which makes a script end its first line with `bash\\r`."""
    git = ["git", "-c", "core.autocrlf=true", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    for name in (".gitattributes", "run_all.sh", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    subprocess.run([*git, "add", "."], check=True)
    (tmp_path / "run_all.sh").unlink()
    subprocess.run([*git, "checkout", "-q", "run_all.sh"], check=True)
    assert (tmp_path / "run_all.sh").read_bytes() == (ROOT / "run_all.sh").read_bytes()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_files_and_folders_that_a_page_names_are_there(page):
    """Names in backquotes with a slash or an ending, targets of links, folders of the layout: from the top or the package."""
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(
        r"`(?:\./)?([\w*.-]+/[\w*./-]*|[\w*-]+\.(?:py|toml|md|sh|txt|cff))`|\]\(([\w./-]+)\)|^([\w]+/)",
        text,
        re.MULTILINE,
    )
    made = ("results/", "notebooks/executed", "DIR/")  # products of runs come and go; DIR is the reader's
    names = {name for each in named for name in each if name and not name.startswith(made)}
    assert len(names) > 5
    assert [name for name in sorted(names) if not any(any(top.glob(name)) for top in (ROOT, PACKAGE))] == []


def test_the_readme_says_what_flatters_scores_on_conll04():
    limits = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split("## Limits")[1].split())
    assert "21 test and 13 dev sentences of it stand in training" in limits and "tags are gold" in limits
