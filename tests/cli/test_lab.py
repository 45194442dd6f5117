"""JupyterLab as `run_all.sh --lab` opens it: a user changes the seed in a notebook, runs all, and presses Ctrl-C."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from browser import browser

from tacred_utils.ground.paths import PACKAGE, ROOT
from tacred_utils.runs.store import find_runs

PROMPTS = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map((prompt) => prompt.textContent)"
OUTPUTS = "[...document.querySelectorAll('.jp-CodeCell .jp-OutputArea-output')]"


@pytest.fixture
def lab(tmp_path):
    """A running JupyterLab over a copy of the study, which is the user's own to change: address, process, folder."""
    study = tmp_path / "a study"
    shutil.copytree(PACKAGE, study / "tacred_utils", ignore=shutil.ignore_patterns("__pycache__"))
    (study / "notebooks").mkdir()
    for name in ("run_all.sh", "requirements.txt", "notebooks/02_svm.ipynb"):
        shutil.copy(ROOT / name, study / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "HOME": str(tmp_path), "VIRTUAL_ENV": sys.prefix, "JUPYTER_TOKEN": "token", "JUPYTER_PORT": str(port),
    }  # fmt: skip
    process = subprocess.Popen(
        [study / "run_all.sh", "--lab"], env=os.environ | environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        _wait_for(f"http://127.0.0.1:{port}/api?token=token", process)
        yield f"http://127.0.0.1:{port}/lab/tree/02_svm.ipynb?token=token", process, study
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_for(address: str, process: subprocess.Popen) -> None:
    end = time.monotonic() + 120
    while True:
        try:
            return urlopen(address, timeout=10).close()
        except URLError:
            assert process.poll() is None and time.monotonic() < end, "JupyterLab did not start"
            time.sleep(0.3)


@pytest.mark.long
def test_a_seed_is_changed_and_all_is_run(lab, tmp_path):
    address, process, study = lab
    with browser(tmp_path / "browser") as tab:
        tab.open(address)
        tab.wait("document.querySelector('.jp-CodeCell .cm-content')", 120)
        tab.wait("document.querySelector('.jp-Toolbar-kernelName')?.textContent.startsWith('Python 3')", 60)
        tab.run("document.querySelector('.jp-CodeCell .cm-content').focus()")
        parameters = tab.run("document.querySelector('.jp-CodeCell .cm-content').innerText")
        assert parameters.count('profile: str = "sample"') == parameters.count("seeds: list[int] = []") == 1
        changed = (
            parameters.replace('"sample"', '"smoke"')
            .replace("= []", "= [7]")
            .replace("draws: int = 1000", "draws: int = 50")
        )
        tab.send("Input.dispatchKeyEvent", type="keyDown", key="a", modifiers=2, commands=["selectAll"])
        tab.send("Input.insertText", text=changed)
        tab.click('.jp-NotebookPanel-toolbar [data-jp-item-name="restart-and-run"]')
        tab.wait("document.querySelector('.jp-Dialog .jp-mod-accept')")
        tab.click(".jp-Dialog .jp-mod-accept")
        tab.wait(f"{PROMPTS}.some((text) => text === '[1]:')", 120)
        tab.wait(f"!{PROMPTS}.some((text) => text.includes('*') || text === '[ ]:')", 400)
        kinds = set(tab.run(f"{OUTPUTS}.map((output) => output.dataset.mimeType)"))
        assert {"image/png", "text/html", "text/markdown"} <= kinds
        untidy = "output => /stderr|error/.test(output.dataset.mimeType)"
        assert not (told := tab.run(f"{OUTPUTS}.filter({untidy}).map((output) => output.textContent)")), told
    runs = find_runs(study / "results" / "smoke")
    assert runs and {run.info["seed"] for run in runs} == {7}
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    with pytest.raises(URLError):
        urlopen(address, timeout=10)
