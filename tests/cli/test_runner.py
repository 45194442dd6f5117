"""The runner on tiny notebooks, in a copy of the study whose path holds a space."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from conftest import PARAMETERS, Copy
from filelock import FileLock
from nbformat.v4 import new_code_cell, new_notebook

from tacred_utils.cli import runner
from tacred_utils.cli.commands import parse
from tacred_utils.cli.execute import clean, with_values
from tacred_utils.cli.runner import plan
from tacred_utils.corpora.example import NO_TEXT
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.paths import FIGURES, NOTEBOOKS, PUBLISHED_RUNS, RESULTS
from tacred_utils.notebook import manifest
from tacred_utils.notebook.manifest import STUDY, hand_over, held_back, places, read_manifest, record


def test_runs_then_skips_then_reruns_only_what_changed(study: Copy):
    study.notebook("01_one.ipynb", "print(profile, corpus, data_dir, labels, seeds, results)")
    study.notebook("02_two.ipynb", "import os\nprint(os.getcwd(), object())")
    first = study.run("--seeds=13,42")
    assert first.returncode == 0 and not first.stderr, first.stderr
    assert [line.split()[1] for line in first.stdout.splitlines()] == ["01_one", "02_two"]
    executed = study.smoke / "executed" / "sample"
    before = {path.name: path.read_bytes() for path in executed.iterdir()}
    title, parameters, last = nbformat.reads(before["01_one.ipynb"].decode(), as_version=4).cells
    assert 'profile = "smoke"\ncorpus = "sample"\ndata_dir = None' in parameters.source, "the values that were used"
    assert last.outputs[0].text == "smoke sample None tacred [13, 42] results/smoke\n"
    assert str(study.root) not in before["02_two.ipynb"].decode()
    assert not (study.root / "figures").exists() and not (study.root / "notebooks" / "executed").exists()

    start = time.monotonic()
    second = study.run("--seeds=13,42")
    assert second.stdout.count("up to date") == 2 and time.monotonic() - start < 10

    study.notebook("02_two.ipynb", "print('changed')")
    third = study.run("--seeds=13,42")
    assert "01_one" in third.stdout and third.stdout.count("up to date") == 1
    assert (executed / "01_one.ipynb").read_bytes() == before["01_one.ipynb"]

    (executed / "01_one.ipynb").write_text("tampered with")
    fourth = study.run("--seeds=13,42", "--only=1")
    assert "done" in fourth.stdout
    assert (executed / "01_one.ipynb").read_bytes() == before["01_one.ipynb"]  # same outputs, same bytes


@pytest.mark.parametrize(
    ("reads", "there", "again"),
    [
        ({}, "results/mine/svm-a-run", False),
        ({"families": ("svm",)}, "results/mine/svm-a-run", False),  # a run that is no system's
        ({"families": ("svm",), "ablations": True}, "results/mine/svm-a-run", True),
        ({"families": ("bert",), "ablations": True}, "results/mine/svm-a-run", False),
        ({"families": ("svm",), "ablations": True}, "data/runs/conll04/svm-a-run", False),
        ({"families": ("svm",), "ablations": True, "published": True}, "data/runs/conll04/svm-a-run", True),
    ],
)
def test_a_notebook_is_run_again_when_there_are_other_runs_of_those_that_it_reads(
    tmp_path, monkeypatch, reads, there, again
):
    monkeypatch.setattr(runner, "PUBLISHED_RUNS", tmp_path / "data" / "runs")
    job = runner.Job(Path("06_x.ipynb"), "mine", tmp_path / "results", {}, "", runner.Reads(**reads))
    before = job.inputs()
    (tmp_path / there).mkdir(parents=True)
    (tmp_path / there / "run.json").write_text("{}")
    assert (job.inputs() != before) == again


@pytest.fixture
def planning(study: Copy, monkeypatch) -> Copy:
    """A copy of the study of which `plan` in this process is."""
    monkeypatch.setattr(runner, "NOTEBOOKS", study.root / "notebooks")
    monkeypatch.setattr(runner, "PACKAGE", study.root / "tacred_utils")
    monkeypatch.setattr(runner, "_fetch", lambda corpus, data: None)
    yield study
    runner._folder_digest.cache_clear()


@pytest.mark.parametrize(
    ("changed", "again"),
    [("metrics/counts.py", True), ("notebook/study.mplstyle", True), ("cli/site/style.css", False),
     ("models/svm.py", False), ("sample/sentence.py", False)],
)  # fmt: skip
def test_a_notebook_is_run_again_when_a_room_that_it_reads_changes(planning: Copy, changed, again):
    planning.notebook("01_one.ipynb", "x = 1")
    (planning.root / "tacred_utils" / "cli" / "reads.toml").write_text('[01]\nrooms = ["metrics"]\n')
    given = []
    for text in ("", "# changed"):
        (planning.root / "tacred_utils" / changed).write_text(text)
        runner._folder_digest.cache_clear()
        given += [job.given for job in plan(parse(["run", "--corpus", "kbp37"]))]
    assert len(given) == 2 and (given[0] != given[1]) == again


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("[0-9]*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_declares_every_room_that_it_imports(path: Path):
    code = "\n".join(runner.sources_of(path, {}))
    imported = set(re.findall(r"^(?:code )?(?:from|import) tacred_utils\.(\w+)", code, re.MULTILINE))
    assert imported <= {*runner.ALWAYS, *runner.load_reads()[path.name[:2]].rooms}


def test_epochs_of_a_training_are_told_where_no_terminal_is_and_stand_in_no_notebook(study: Copy):
    line = "bilstm-joint-s13: epoch 1 of 2, loss 0.5000, dev macro_f1 0.2500, 0:01:00 so far, 0:01:00 left"
    study.notebook(
        "01_one.ipynb", f"import os, sys\nos.write(sys.stderr.fileno(), b'{line}\\n')  # as models/progress.py"
    )
    given = study.command()
    given["env"].pop("PYTEST_CURRENT_TEST")  # ipykernel looks whether it is tested itself
    result = subprocess.run(**given, capture_output=True, timeout=600)
    assert result.returncode == 0 and f"  {line}\n" in result.stdout, result
    [executed] = (study.smoke / "executed" / "sample").iterdir()
    assert not any("so far" in str(cell.outputs) for cell in nbformat.read(executed, 4).cells if "outputs" in cell)


def test_what_a_profile_covers_is_run_corpus_by_corpus_and_what_is_said_of_all_once_at_the_end(planning: Copy):
    planning.notebook("02_one.ipynb", "x = 1")
    planning.notebook("10_all.ipynb", "x = 1")
    (planning.root / "tacred_utils" / "cli" / "reads.toml").write_text("[10]\nonce = true\n")
    options = parse(["run"])
    options.results = PUBLISHED_RUNS
    jobs = [(job.number, job.corpus, job.parameters["profile"]) for job in plan(options)]
    assert jobs == [
        *(("02", corpus, "open") for corpus in ("redocred_small", "conll04", "kbp37")),
        ("10", STUDY, "open"),
    ]


MAKE = (
    "from pathlib import Path\nfrom tacred_utils.notebook.manifest import record, places\n"
    "folder = places(Path(results).resolve(), Path(corpus).name).figures\n"
    "folder.mkdir(parents=True, exist_ok=True)\n"
    "(folder / '01_{0}.csv').write_text('x')\n"
    "record(folder, [folder / '01_{0}.csv'], {{'notebook': '01', 'runs': []}})\n"
    "print((folder / '01_{0}.csv').relative_to(Path().resolve()))"
)


def test_outputs_that_a_notebook_no_longer_makes_go(study: Copy):
    figures = study.smoke / "figures" / "sample"
    for name in ("old", "new"):
        study.notebook("01_one.ipynb", MAKE.format(name))
        assert study.run().returncode == 0
    assert list(read_manifest(figures)) == ["01_new.csv"]
    assert not (figures / "01_old.csv").exists()
    (figures / "01_new.csv").unlink()
    assert "done" in study.run().stdout  # a missing output is made again


def test_the_kernel_is_this_interpreters_own_and_braces_are_part_of_a_path(study: Copy, tmp_path: Path):
    """Beside a foreign `python3`, which does not start, and with results in a folder that looks like a template."""
    kernel = tmp_path / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": ["/nowhere/python"], "display_name": "Python 3", "language": "python"}))
    study.notebook("01_one.ipynb", "import sys\nprint(sys.executable)")
    result = study.run("--results=res{labels} {x}", JUPYTER_PATH=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert (study.root / "res{labels} {x}" / "smoke" / "executed" / "sample" / "01_one.ipynb").exists()


def test_products_go_to_the_folders_that_people_read(study: Copy):
    study.notebook("01_one.ipynb", MAKE.format("x"))
    assert study.run("--profile=sample").returncode == 0
    assert [*read_manifest(study.root / "figures" / "sample")] == ["01_x.csv"]
    executed = (study.root / "notebooks" / "executed" / "sample" / "01_one.ipynb").read_text()
    assert '"figures/sample/01_x.csv' in executed and "results/figures" not in executed
    assert not [*(study.root / "results" / "figures").rglob("*.csv")]


def entry(*runs: str, **more: object) -> dict:
    return {"notebook": "06", "runs": [*runs], "profile": "open", "commit": "1"} | more


OLD = {"06_x.pdf": entry("conll04/svm-joint-s13-aaaa", "conll04/svm-joint-s42-bbbb")}
HELD_BACK = {
    "a smaller profile": ("conll04", "conll04", "sample", OLD, "is made on conll04 under profile open"),
    "the first ones under another profile": ("kbp37", "kbp37", "paper", {}, "is made on kbp37 under profile open"),
    "what is of all corpora, made beside another": ("published", "sample", "open", OLD, "is made on redocred_small under"),
    "a figure that is lacking": ("conll04", "conll04", "open", {}, "holds 06_x.pdf, which was not made now"),
    "fewer seeds": ("conll04", "conll04", "open", {"06_x.pdf": entry("conll04/svm-joint-s13-cccc")}, "holds 06_x.pdf of more runs"),
    "the same runs made anew": (
        "conll04", "conll04", "open", {"06_x.pdf": entry("conll04/svm-joint-s13-cccc", "conll04/svm-joint-s42-dddd")}, "",
    ),
    "more than there was": ("published", "redocred_small", "open", OLD | {"06_y.pdf": entry()}, ""),
    "what is not committed": ("sample", "sample", "sample", {}, ""),
}  # fmt: skip


@pytest.mark.parametrize(("corpus", "maker", "profile", "new", "why"), HELD_BACK.values(), ids=HELD_BACK)
def test_what_knows_less_takes_no_place_of_what_is_committed(corpus, maker, profile, new, why):
    said = held_back(corpus, maker, profile, new, OLD)
    assert said.startswith(why) and bool(said) == bool(why)


def test_committed_figures_stay_where_a_run_knows_less_and_one_line_says_so(study: Copy, monkeypatch, capsys):
    """On a corpus that is committed, under a small profile: in the copy itself, without a kernel."""
    drafts = places(study.root / "results", "conll04").figures
    monkeypatch.setattr(manifest, "FIGURES", study.root / "figures")
    monkeypatch.setattr(manifest, "NOTEBOOKS", study.root / "notebooks")

    def execute(source, parameters, logs, bar):
        drafts.mkdir(parents=True)
        (drafts / "01_x.csv").write_text("new")
        record(drafts, [drafts / "01_x.csv"], entry(notebook="01"))
        return {"cells": []}

    monkeypatch.setattr(runner, "execute", execute)
    kept = study.root / "figures" / "conll04"
    kept.mkdir(parents=True)
    (kept / "01_x.csv").write_text("old")
    record(kept, [kept / "01_x.csv"], entry(notebook="01"))
    job = runner.Job(Path("01_one.ipynb"), "conll04", study.root / "results", {"profile": "sample"}, "", runner.Reads())
    assert runner.run_jobs([job], False, []) == 0
    _, said = capsys.readouterr().out.splitlines()
    assert "conll04 stays: it is made on conll04 under profile open; what was made now lies in" in said
    assert (kept / "01_x.csv").read_text() == "old" and (drafts / "01_x.csv").read_text() == "new"
    assert (drafts.parent.parent / "executed" / "conll04" / "01_one.ipynb").exists() and job.is_current()


def test_files_are_handed_over_in_place_of_the_older_ones_and_keep_their_maker(tmp_path: Path):
    made, read = tmp_path / "made", tmp_path / "read"
    for folder, names, commit in ((read, ("same", "other", "gone"), "1"), (made, ("same", "other"), "2")):
        for name in names:
            (folder / "tables").mkdir(parents=True, exist_ok=True)
            file = folder / "tables" / f"02_{name}.csv"
            file.write_text(f"{name} {commit}" if name == "other" else name)
            record(folder, [file], entry(notebook="02", commit=commit))
    record(read, [read / "03_x.pdf"], entry(notebook="03"))
    hand_over("02", made, read)
    assert not [*made.rglob("*.csv")] and not read_manifest(made)
    commits = {name: entry["commit"] for name, entry in read_manifest(read).items()}
    assert commits == {"tables/02_same.csv": "1", "tables/02_other.csv": "2", "03_x.pdf": "1"}
    assert (read / "tables" / "02_other.csv").read_text() == "other 2" and not (
        read / "tables" / "02_gone.csv"
    ).exists()


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("\n# why\nunknown + 1", 1, ["cell 3, `# why`", "NameError: name 'unknown' is not defined"]),
        ("import sys\nsys.exit()", 1, ["cell 3, `import sys`", "sys.exit"]),
        ("import os\nos._exit(0)", 1, ["cell 3, `import os`", "kernel died"]),
        ("%no_such_magic", 1, ["cell 3, `%no_such_magic`"]),
        (
            "from tacred_utils.ground.errors import UserError\nraise UserError('a.json: mend it.')",
            2,
            ["\na.json: mend it."],
        ),
    ],
)
def test_failure_names_cell_cause_and_the_command_that_resumes(study: Copy, code, status, said):
    study.notebook("01_one.ipynb", "x = 1")
    study.notebook("02_two.ipynb", code, "print('below')")
    study.notebook("03_three.ipynb", "x = 1")
    result = study.run("--from=2", "--force", "--seeds", "13")
    assert result.returncode == status
    assert all(part in result.stderr for part in said), result.stderr
    assert result.stderr.strip().endswith("To resume: ./run_all.sh --profile=smoke --seeds 13 --from 02")
    assert "Traceback" not in result.stderr and "03_three" not in result.stdout
    assert not (study.smoke / "executed" / "sample" / "02_two.ipynb").exists()
    assert (study.smoke / "logs" / "sample" / "02_failed.ipynb").exists()


def test_ctrl_c_stops_in_seconds_and_lets_the_cell_clean_up(study: Copy):
    study.notebook("01_one.ipynb", "try:\n    open('begun', 'w').close()\n    import time; time.sleep(60)\n"
                   "finally:\n    open('cleaned', 'w').close()")  # fmt: skip
    process = subprocess.Popen(**study.command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not (study.root / "begun").exists():
        assert process.poll() is None
        time.sleep(0.1)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and time.monotonic() - start < 10
    assert "To resume: ./run_all.sh --profile=smoke --from 01" in errors and "Traceback" not in errors
    assert (study.root / "cleaned").exists()


def test_a_second_run_on_the_same_results_is_turned_away(study: Copy):
    study.notebook("01_one.ipynb", "x = 1")
    study.smoke.mkdir(parents=True)
    with FileLock(study.smoke / ".runner.lock"):
        result = study.run()
    assert result.returncode == 2 and "another run works here" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--only=7"], "no notebook 7; there are 01"),
        (["--only=x"], "invalid numbers value: 'x'"),
        (["--labels=no"], "--labels"),
        (["--corpus=nowhere"], "nowhere"),
        (["--data-dir=nowhere"], "no such folder"),
        (["--profile=nothing"], "nothing"),
        (["--nonsense"], "--nonsense"),
        (["--results=requirements.txt"], "requirements.txt"),
    ],
)
def test_a_mistake_in_the_call_is_one_sentence(study: Copy, options, said):
    study.notebook("01_one.ipynb", "x = 1")
    result = study.run(*options)
    assert result.returncode == 2 and said in result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr


def test_a_damaged_stamp_counts_for_nothing_and_other_damaged_files_are_named(study: Copy, tmp_path: Path):
    study.notebook("01_one.ipynb", "x = 1")
    source, stamp = study.root / "notebooks" / "01_one.ipynb", tmp_path / "stamps" / "x" / "01.json"
    stamp.parent.mkdir(parents=True)
    job, whole = runner.Job(source, "x", tmp_path, {}, "", runner.Reads()), source.read_text()
    good = {"inputs": job.inputs(), "outputs": {}, "seconds": 1.0}
    stamp.write_text(json.dumps(good))
    assert job.is_current()
    for content in ([], None, {"inputs": job.inputs()}, good | {"outputs": []}, good | {"seconds": "x"}):
        stamp.write_text(json.dumps(content))
        assert job.last() is None and not job.is_current()
    for content in ("[]", "{}", "null", whole[:100], '{"cells": [1]}'):
        source.write_text(content)
        with pytest.raises(UserError, match="01_one.ipynb: is no readable notebook"):
            runner.sources_of(source, {})
    for content in (b"[]", b"null", b"{", b'{"a": 1}', b"\xff"):
        (tmp_path / "manifest.json").write_bytes(content)
        with pytest.raises(UserError, match=r"manifest\.json: is damaged"):
            read_manifest(tmp_path)
    (tmp_path / "circle").symlink_to("circle")
    for option in ("results", "data-dir", "corpus"):
        with pytest.raises(UserError, match="circle: leads to no folder"):
            runner.run_notebooks(parse(["run", f"--{option}={tmp_path / 'circle'}"]))


def test_an_open_corpus_that_cannot_be_downloaded_is_one_sentence(study: Copy):
    study.notebook("01_one.ipynb", "x = 1")
    result = study.run("--corpus=conll04", HTTPS_PROXY="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9")
    assert result.returncode == 2 and result.stdout.startswith("Downloading conll04")
    assert "check the network" in result.stderr.splitlines()[-1] and "Traceback" not in result.stderr


def test_an_open_corpus_is_downloaded_only_while_files_are_missing(tmp_path: Path, monkeypatch):
    calls = []
    monkeypatch.setattr("tacred_utils.corpora.registry.fetch_source", lambda name, data: calls.append((name, data)))
    options = parse(["run", "--corpus=kbp37", f"--data-dir={tmp_path}"])
    (tmp_path / "kbp37").mkdir()
    for split in ("train", "dev", "test"):
        plan(options)
        (tmp_path / "kbp37" / f"{split}.txt").touch()
    assert calls == 3 * [("kbp37", tmp_path)]
    plan(options)
    plan(parse(["run"]))
    assert len(calls) == 3


@pytest.mark.parametrize("parameters", ["profile = None", PARAMETERS.replace("seeds", "seed")])
def test_a_notebook_that_ignores_a_parameter_does_not_run(study: Copy, parameters):
    study.notebook("01_one.ipynb", "x = 1", parameters=parameters)
    result = study.run()
    assert result.returncode == 2 and "01_one.ipynb: its parameters cell does not set" in result.stderr
    assert "seeds" in result.stderr


def test_values_stand_in_the_parameters_cell_with_its_comments():
    code = 'corpus: str = ""  # a name = x\nseeds: list[int] = []  # empty: the profile\'s\nresults = None'
    given = {"corpus": 'a "{folder}"\\', "seeds": [13, 42], "results": None, "other": 1}
    assert with_values(code, given) == (
        'corpus: str = "a \\"{folder}\\"\\\\"  # a name = x\nseeds: list[int] = [13, 42]  # empty: the profile\'s\nresults = None'
    )


def test_clean_takes_the_machine_out_of_text_but_not_out_of_images():
    image = {"image/png": "/home/me/AAAA", "text/plain": ["<F at 0x7f12345678>\n", "/home/me/study/x"]}
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "50 %"}
    outputs = [nbformat.v4.new_output("display_data", data) for data in (image, widget)]
    outputs.append(nbformat.v4.new_output("display_data", {"text/markdown": "", "text/plain": "progress that is over"}))
    outputs.append(nbformat.v4.new_output("stream", text="/tmp/ipykernel_12/34.py:1: Warning at /home/mel\n"))
    notebook = new_notebook(cells=[new_code_cell("x", outputs=outputs, metadata={"papermill": {"duration": 1}})])
    notebook.metadata["widgets"] = {"state": {}}
    cleaned = json.loads(clean(json.loads(nbformat.writes(notebook)), {"/home/me/study": ".", "/home/me": "~"}))
    first, second, third = cleaned["cells"][0]["outputs"]
    assert first["data"] == {"image/png": "/home/me/AAAA", "text/plain": ["<F at 0x…>\n", "./x"]}
    assert second["data"] == {"text/plain": ["50 %"]}
    assert third["text"] == ["<cell>:1: Warning at /home/mel\n"]
    assert cleaned["cells"][0]["metadata"] == {} and "widgets" not in cleaned["metadata"]


def test_places_and_manifest(tmp_path: Path):
    assert places(tmp_path, "kbp37", read=True).figures == FIGURES / "kbp37"
    assert places(tmp_path, "kbp37", read=True).executed == NOTEBOOKS / "executed" / "kbp37"
    assert places(tmp_path, STUDY, read=True).executed == NOTEBOOKS / "executed"
    assert all(tmp_path in path.parents for path in vars(places(tmp_path, "sample")).values())
    assert all(RESULTS in path.parents for path in vars(places(PUBLISHED_RUNS, "kbp37")).values())
    record(tmp_path, [tmp_path / "tables" / "02_x.csv"], entry("a", notebook="02", seeds=[13]))
    record(tmp_path, [tmp_path / "02_y.pdf"], entry(notebook="02"))
    assert list(read_manifest(tmp_path)) == ["02_y.pdf", "tables/02_x.csv"]
    assert read_manifest(tmp_path)["tables/02_x.csv"] == entry("a", notebook="02", seeds=[13])


def test_a_page_made_without_the_text_replaces_none_that_was_made_with_it(tmp_path, monkeypatch):
    """What was made without the corpus' sentences stays below the results, and that is said."""
    parameters = {"profile": "open", "results": str(tmp_path)}
    source = NOTEBOOKS / "06_decoupled.ipynb"
    job = SimpleNamespace(
        stamp=tmp_path / "stamp", drafts={}, number="06", source=source, parameters=parameters, results=tmp_path,
        corpus=STUDY, inputs=dict,
    )  # fmt: skip
    cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("stream", text=f"6 rows; {NO_TEXT}")])
    book = json.loads(nbformat.writes(nbformat.v4.new_notebook(cells=[cell])))
    monkeypatch.setattr(runner, "execute", lambda *_: book)
    monkeypatch.setattr(runner, "clean", lambda made, names: json.dumps(made))
    committed = (NOTEBOOKS / "executed" / source.name).read_bytes()
    _, notes = runner.do(job, "")
    assert "was made without the corpus' text" in notes[0]
    assert (NOTEBOOKS / "executed" / source.name).read_bytes() == committed
    assert NO_TEXT in (places(tmp_path, STUDY).executed / source.name).read_text()
