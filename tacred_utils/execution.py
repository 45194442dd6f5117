"""Runs one notebook to its last cell, says where and why it stopped, and cleans what is kept of it."""

import logging
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

from tacred_utils.paths import ROOT

_WIDGETS = "application/vnd.jupyter.widget-view+json"
_ERROR_TAGS = {"papermill-error-cell-tag"}


@dataclass(frozen=True)
class Problem:
    """Why a notebook did not complete, as one or two sentences; `by_user` if the user can mend it."""

    sentence: str
    by_user: bool = False


def run_notebook(
    source: Path, parameters: Mapping[str, object], log: Path, names: Mapping[str, str]
) -> tuple[str, Problem | None]:
    """Run `source` in a new kernel of this environment, working in the repository root.

    What the cells print goes to `log` as they run. Returns the notebook with its outputs, cleaned (see
    `clean`, which takes `names`), and the problem if a cell did not complete. KeyboardInterrupt interrupts
    the kernel and is passed on.
    """
    with (
        tempfile.TemporaryDirectory(prefix="notebook-") as scratch,
        log.open("w", encoding="utf-8") as stream,
    ):
        output = Path(scratch) / "running.ipynb"
        os.environ["IPYTHONDIR"] = scratch  # the user's own start-up files stay out of the study
        cause = None
        try:
            with _logged(stream):
                papermill.execute_notebook(
                    _literal(source), _literal(output), dict(parameters), kernel_name="python3",
                    language="python", cwd=ROOT, progress_bar=False, coalesce_streams=True, log_output=True,
                    start_timeout=180,
                )  # fmt: skip
        except (PapermillExecutionError, DeadKernelError, RuntimeError, TimeoutError) as error:
            cause = error
        notebook = nbformat.read(output, as_version=4)
        problem = _problem(notebook, cause)  # reads what `clean` takes away
        return clean(notebook, {**names, scratch: "SCRATCH"}), problem


def clean(notebook: NotebookNode, names: Mapping[str, str]) -> str:
    """The notebook as a file that depends on its outputs alone: no times, widgets, machine's paths.

    `names` says what stands for which folder ({"/home/me/study": "."}); it applies to text, not to images.
    """
    rules = [
        (re.compile(rf"(?<![\w.~-]){re.escape(path)}(?![\w-])"), name) for path, name in _by_length(names)
    ]
    rules += [
        (re.compile(r"[\w/.~-]*ipykernel_\d+/\d+\.py"), "<cell>"),
        (re.compile(r"\b0x[0-9a-f]{8,16}\b"), "0x…"),
    ]

    def scrub(text: object) -> object:
        if isinstance(text, list):
            return [scrub(line) for line in text]
        for pattern, name in rules if isinstance(text, str) else ():
            text = pattern.sub(lambda _, name=name: name, text)
        return text

    notebook.metadata = NotebookNode(
        kernelspec=NotebookNode(display_name="Python 3 (ipykernel)", language="python", name="python3"),
        language_info=NotebookNode(name="python", file_extension=".py", mimetype="text/x-python"),
    )
    notebook.cells = [cell for cell in notebook.cells if not _ERROR_TAGS & set(cell.metadata.get("tags", []))]
    for index, cell in enumerate(notebook.cells):
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = "injected-parameters"  # papermill draws one at random
        cell.setdefault("id", f"cell-{index}")
        cell.source = scrub(cell.source)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            data.pop(_WIDGETS, None)
            for kind in data:
                data[kind] = scrub(data[kind]) if kind.startswith("text/") else data[kind]
            for key in ("text", "evalue", "traceback"):
                if key in output:
                    output[key] = scrub(output[key])
    return nbformat.writes(nbformat.v4.upgrade(notebook)) + "\n"


def _by_length(names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Longest path first: a folder is named before the one it lies in. "/" alone is nobody's home."""
    return sorted(
        ((path, name) for path, name in names.items() if len(path) > 1), key=lambda pair: -len(pair[0])
    )


def _problem(notebook: NotebookNode, cause: Exception | None) -> Problem | None:
    """What happened in the cell that did not complete; None when all did."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    cell = next((cell for cell in code if not _completed(cell)), None)
    if isinstance(cause, DeadKernelError):  # the cell in which the kernel died has ended, too
        cell = [cell for cell in code if _state(cell).get("end_time")][-1]
    if cell is None:
        return Problem(f"stopped: {type(cause).__name__}: {cause}") if cause else None
    raised = [output for output in cell.outputs if output.output_type == "error"]
    name, message = (raised[-1].ename, raised[-1].evalue) if raised else (type(cause).__name__, str(cause))
    if name == "UserError":
        return Problem(f"{_place(notebook, cell)}\n{message}", by_user=True)
    if name == "SystemExit":
        message = "the cell calls sys.exit, which would leave the cells below undone; raise an error instead"
    elif isinstance(cause, DeadKernelError):
        message = "the kernel died, most often because memory ran out"
    elif not raised and isinstance(cause, PapermillExecutionError):
        name, message = "UsageError", "the cell failed without an exception; its message is in the log"
    return Problem(f"{_place(notebook, cell)}\n{name}: {message}")


def _completed(cell: NotebookNode) -> bool:
    """Whether a code cell ran to its end (papermill's `status` is set even for cells never begun)."""
    raised = any(output.output_type == "error" for output in cell.outputs)
    return bool(_state(cell).get("end_time")) and not _state(cell).get("exception") and not raised


def _state(cell: NotebookNode) -> dict:
    return cell.metadata.get("papermill", {})


def _place(notebook: NotebookNode, cell: NotebookNode) -> str:
    """Where it stopped, counting as the source does: the cells that papermill adds do not count."""
    added = _ERROR_TAGS | {"injected-parameters"}
    counted = [
        other for other in notebook.cells if other is cell or not added & set(other.metadata.get("tags", []))
    ]
    first = next((line.strip() for line in cell.source.splitlines() if line.strip()), "")
    return f"stopped at cell {counted.index(cell) + 1}, `{first[:80]}`:"


def _literal(path: Path) -> str:
    """A path for papermill, which fills in braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


@contextmanager
def _logged(stream):
    """Send papermill's account of the cells to `stream`, and the kernel's own start-up messages with it."""
    logger, handler = logging.getLogger("papermill"), logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    sys.stderr.flush()
    terminal = os.dup(2)
    os.dup2(stream.fileno(), 2)  # a kernel writes to the file descriptor that it inherits
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        logger.removeHandler(handler)
