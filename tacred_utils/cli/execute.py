"""One notebook in a kernel of its own: it counts only if every cell completed, and its file tells nothing of the machine."""

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import read_bytes
from tacred_utils.ground.paths import ROOT

ERROR_NOTE = "papermill-error-cell-tag"  # of cells that papermill adds above one that failed
WIDGET = "application/vnd.jupyter.widget-view+json"
VOLATILE = {"papermill", "execution", "widgets", "language_info", WIDGET}  # parts of a notebook that are not kept
EPOCH = re.compile(r"\S+: epoch \d+ of \d+, ")  # a line of training where there is no terminal
HINTS = {  # where the error itself says little
    "SystemExit": "sys.exit leaves the cells below undone; raise an error instead",
    "DeadKernelError": "the kernel died, most often because memory ran out; lower batch_size in the profile",
}


class NotebookFailed(Exception):
    """A notebook did not complete, and it was not a mistake of the user."""


def read_notebook(path: Path) -> dict:
    """A notebook as its JSON has it, each cell's source in one piece. Raises `UserError` if it is damaged.

    It is read without nbformat, which takes seconds to import: what is up to date is told at once.
    """
    try:
        notebook = json.loads(read_bytes(path))
        for cell in notebook["cells"]:
            cell["source"], cell["metadata"]["tags"] = "".join(cell["source"]), cell["metadata"].get("tags", [])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: is no readable notebook ({error}); restore it, or execute it again.") from error
    return notebook


def execute(source: Path, parameters: Mapping[str, object], logs: Path, bar: str) -> dict:
    """Run a notebook and return it with its outputs; `bar` is tqdm's format of progress on a terminal.

    The log lies in `logs`; so does the notebook, as far as it came, where this raises `UserError` or `NotebookFailed`.
    """
    logs.mkdir(parents=True, exist_ok=True)
    failed, log = logs / f"{source.name[:2]}_failed.ipynb", logs / f"{source.name[:2]}.log"
    notebook = read_notebook(source)
    for cell in notebook["cells"]:
        if "parameters" in cell["metadata"]["tags"]:
            cell["source"] = with_values(cell["source"], parameters)
    failed.write_text(json.dumps(notebook), encoding="utf-8")
    cause = _papermill(failed, log, bar)
    done = json.loads(failed.read_text(encoding="utf-8"))
    _check(done, cause, source.name, log)
    failed.unlink()
    return done


def with_values(code: str, parameters: Mapping[str, object]) -> str:
    """A parameters cell, a line each, with these values in place of its own; one that is None stays as it is."""
    for name, value in parameters.items():
        if value is not None:
            text = json.dumps(value, ensure_ascii=False)
            code = re.sub(
                rf"^({name}\b[^=\n]*= ).*?(?=  #|$)", lambda found, text=text: found[1] + text, code, flags=re.M
            )
    return code


def _papermill(notebook: Path, log: Path, bar: str) -> Exception | None:
    """Run a notebook, in its place, in a new kernel that works in the root; what its cells print goes to the log."""
    import papermill  # takes a second
    from papermill.exceptions import PapermillExecutionError

    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # after Ctrl-C nobody asks how the cell's task ended
    os.environ["IPYTHONDIR"] = str(log.parent / "ipython")  # the user's own start-up files stay out
    progress = {"bar_format": bar, "leave": False, "file": sys.stdout} if sys.stdout.isatty() else False
    path = str(notebook).replace("{", "{{").replace("}", "}}")  # papermill fills in templates
    terminal = os.dup(2)
    with log.open("w", encoding="utf-8", buffering=1) as stream, _epochs_told(log):
        os.dup2(stream.fileno(), 2)  # what the kernel itself says: it inherits the file descriptor
        try:
            papermill.execute_notebook(
                path, path, kernel_name="python3", language="python", cwd=ROOT, progress_bar=progress,
                start_timeout=180, stdout_file=stream, stderr_file=stream, coalesce_streams=True,
                kernel_manager_class=_own_kernel(),
            )  # fmt: skip
        except (PapermillExecutionError, RuntimeError, TimeoutError) as error:
            print(error, file=stream)
            return error
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
    return None


@contextmanager
def _epochs_told(log: Path) -> Iterator[None]:
    """Say each epoch that a log tells of meanwhile, where output is no terminal with a bar."""
    over = threading.Event()

    def follow() -> None:
        with log.open(encoding="utf-8", errors="replace") as stream:
            ends = sys.stdout.isatty()
            while not ends:
                ends = over.wait(1.0)
                print(*(f"  {line}" for line in stream if EPOCH.match(line)), sep="", end="", flush=True)

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        over.set()
        follower.join()


def _own_kernel() -> type:
    """The kernel of this very interpreter, whatever kernels the user has installed under the name `python3`."""
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    class OwnKernel(AsyncKernelManager):
        kernel_spec = KernelSpec(**get_kernel_dict())

    return OwnKernel


def _check(notebook: dict, cause: Exception | None, name: str, log: Path) -> None:
    """Raise `UserError` or `NotebookFailed`, with place and reason, unless every cell completed."""
    cells = [cell for cell in notebook["cells"] if ERROR_NOTE not in cell["metadata"].get("tags", [])]
    code = [n for n, cell in enumerate(cells, start=1) if cell["cell_type"] == "code"]
    begun = [n for n in code if cells[n - 1]["metadata"]["papermill"]["start_time"]]
    place = begun[-1] if begun else code[0]
    cell = cells[place - 1]
    if cause is None and begun == code and all(output["output_type"] != "error" for output in cell["outputs"]):
        return
    error = getattr(cause, "ename", type(cause).__name__ if cause else "SystemExit")
    message = getattr(cause, "evalue", cause)
    line = "".join(cell["source"]).strip().partition("\n")[0]
    reason = message if error == "UserError" else HINTS.get(error, f"{error}: {message}")
    kind = UserError if error == "UserError" else NotebookFailed
    raise kind(f"{name} stopped at cell {place}, `{line[:80]}`:\n{reason}\nLog: {log}")


def clean(notebook: dict, names: Mapping[str, str]) -> str:
    """The notebook as a file that depends on its outputs alone: no times, widgets, machine's paths.

    `names` says what stands for which folder ({"/home/me/results": "RESULTS"}), beside those of the study, of the
    environment and of the user; it applies to text, not to images.
    """
    names = {str(ROOT): ".", sys.prefix: "ENVIRONMENT", str(Path.home()): "~"} | dict(names)
    paths = sorted((path for path in names if path != "/"), key=len, reverse=True)  # inner folders first
    rules = [(rf"(?<![\w.~-]){re.escape(path)}(?![\w-])", names[path]) for path in paths]
    rules += [(r"[\w/.~-]*ipykernel_\d+/\d+\.py", "<cell>"), (r"\b0x[0-9a-f]{8,16}\b", "0x…")]

    def scrub(value: object, key: str = "") -> object:
        if key.startswith(("image/", "application/")):
            return value
        if isinstance(value, dict):
            return {key: scrub(item, key) for key, item in value.items() if key not in VOLATILE}
        if isinstance(value, list):
            return [scrub(item) for item in value]
        for pattern, name in rules if isinstance(value, str) else ():
            value = re.sub(pattern, name, value)
        return value

    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":  # a line of progress leaves an empty output behind
            kept = [output for output in cell["outputs"] if output.get("data", {}).get("text/markdown") not in ("", [])]
            cell["outputs"] = kept
    return json.dumps(scrub(notebook), ensure_ascii=False, indent=1, sort_keys=True) + "\n"
