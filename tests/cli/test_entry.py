"""run_all.sh as a user meets it, in a copy with nothing but the script, the pins and what reads the options."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tacred_utils.cli import commands
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.paths import NOTEBOOKS, PACKAGE, ROOT

EXECUTED = NOTEBOOKS / "executed"

TOOLS = (
    "bash",
    "cat",
    "dirname",
    "readlink",
    "grep",
    "cksum",
    "mkdir",
    "touch",
    "ls",
    "rm",
    "mktemp",
    "df",
    "awk",
    "tail",
    "cut",
)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """run_all.sh in a folder of its own, where making an environment cannot harm the checkout."""
    folder = tmp_path / "a study"
    folder.mkdir()
    for name in ("run_all.sh", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    for name in (
        "__init__.py",
        "__main__.py",
        "cli/__init__.py",
        "cli/commands.py",
        "cli/options.toml",
        "ground",
    ):  # what reads the options
        place = folder / "tacred_utils" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if name == "ground" else shutil.copy)(PACKAGE / name, place)
    return folder / "run_all.sh"


def call(script: Path, *options: str, **environment: str) -> subprocess.CompletedProcess:
    kept = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    return subprocess.run([script, *options], env=kept | environment, capture_output=True, text=True, timeout=60)


def stub_path(tmp_path: Path, **programs: str) -> str:
    """A PATH with the usual tools and these programs (name=shell code) only; dots are written as __."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(shutil.which(tool))
    for name, code in programs.items():
        program = folder / name.replace("__", ".")
        program.write_text(f"#!{shutil.which('bash')}\n{code}\n")
        program.chmod(0o755)
    return str(folder)


def one_sentence(result: subprocess.CompletedProcess, status: int) -> str:
    assert result.returncode == status, result
    assert len(result.stderr.splitlines()) == 1 and "line " not in result.stderr, result.stderr
    return result.stderr


def test_help_needs_no_environment(script: Path):
    result = call(script, "--help")
    assert result.returncode == 0 and not result.stderr
    for option in [
        "profile",
        "corpus",
        "data-dir",
        "labels",
        "seeds",
        "only",
        "from",
        "force",
        "results",
        "processes",
        "setup",
        "out",
        "report",
        "lab",
        "test",
        "help",
    ]:
        assert f"--{option} " in result.stdout
    assert not (script.parent / ".venv").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--profle", "smoke"], "unrecognized arguments: --profle smoke"),
        (["--dat-dir=x"], "unrecognized arguments: --dat-dir=x"),
        (["--corpus"], "--corpus: expected one argument"),
        (["--corpus", "--force"], "--corpus: expected one argument"),
        (["--seeds="], "--seeds: is given an empty value"),
        (["kbp37"], "unrecognized arguments: kbp37"),
        (["--report", "--lab"], "--lab: not allowed with argument --report"),
        (["--lab", "--seeds", "7"], "--seeds: does not go with --lab"),
        (["--report", "--out"], "--out: expected one argument"),
        (["--out", "x"], "--out: does not go with the notebooks"),
        (["--seeds", "x"], "invalid numbers value"),
        (["--report", "--force"], "--force: does not go with --report"),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_is_installed(script: Path, options, said):
    assert said in one_sentence(call(script, *options), 2)
    assert not (script.parent / ".venv").exists()


def test_without_python_the_sentence_says_what_to_install(script: Path, tmp_path: Path):
    old = "exit 1"  # a Python that fails the version check
    result = call(script, "--setup", PATH=stub_path(tmp_path, python3=old, python3__11="exit 127"))
    assert "install Python 3.11" in one_sentence(result, 2)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_occupied_venv_is_left_alone(script: Path, kind: str):
    venv = script.parent / ".venv"
    occupant = venv if kind == "file" else venv / "mine.txt"
    occupant.parent.mkdir(exist_ok=True)
    occupant.write_text("mine")
    assert "is in the way" in one_sentence(call(script, "--setup"), 2)
    assert occupant.read_text() == "mine"


def test_an_environment_of_another_python_is_left_alone(script: Path):
    """Its Python fails the version check, and run_all.sh did not make it."""
    python = script.parent / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    assert "is in the way" in one_sentence(call(script, "--setup"), 2)
    assert python.exists()


def test_a_second_builder_is_turned_away(script: Path):
    venv = script.parent / ".venv"
    venv.mkdir()
    (venv / ".study").touch()
    (venv / ".making").write_text(f"{os.getpid()}\n")
    assert f"process {os.getpid()}" in one_sentence(call(script, "--setup"), 2)
    assert (venv / ".making").exists()


@pytest.mark.parametrize(
    ("complaint", "status", "said"),
    [
        ("OSError: [Errno 28] No space left on device", 2, "disk is full"),
        (
            "NewConnectionError: Failed to establish a new connection\nERROR: No matching distribution",
            1,
            "check the network",
        ),
        ("Permission denied: '.venv'", 2, "cannot be written"),
        ("ERROR: ResolutionImpossible", 1, "ERROR: ResolutionImpossible"),
    ],
)
def test_what_pip_complains_of_becomes_one_sentence(script: Path, tmp_path: Path, complaint, status, said):
    """A stub stands for Python: it passes as 3.11, and "makes" an environment whose pip complains."""
    stub = tmp_path / "stub"
    stub.write_text(f"""#!{shutil.which("bash")}
case "$*" in
  *"-m venv"*) mkdir -p "${{@: -1}}/bin"; cp "$0" "${{@: -1}}/bin/python"; touch "${{@: -1}}/pyvenv.cfg" ;;
  *"pip install"*) printf '%s\\n' "{complaint}" >&2; exit 1 ;;
esac
exit 0
""")
    stub.chmod(0o755)
    path = stub_path(tmp_path, python3__11=f'if [ "$2" = venv ]; then exec {stub} "$@"; fi; exit 0')
    (tmp_path / "bin" / "cp").symlink_to(shutil.which("cp"))
    result = call(script, "--setup", PATH=path)
    assert said in one_sentence(result, status)
    assert not (script.parent / ".venv" / ".study").read_text()  # holds the pins once the environment is complete
    assert not (script.parent / ".venv" / ".making").exists()


def test_an_active_environment_that_lacks_a_pin_is_not_used(script: Path, tmp_path: Path):
    (script.parent / "requirements.txt").write_text("no-such-package==1.0\n")
    (script.parent / ".venv").write_text("in the way")  # so that the script stops before it makes one
    result = call(script, "--setup", VIRTUAL_ENV=os.environ.get("VIRTUAL_ENV", str(ROOT / ".venv")))
    assert result.returncode == 2 and "lacks" in result.stdout


HOME = {"VIRTUAL_ENV": sys.prefix}  # an environment that is complete


def test_the_root_is_the_scripts_own_whatever_the_shell_stands_in(script: Path, tmp_path: Path):
    """With CDPATH set, by its bare name, and through a symbolic link to it: --help comes from its own package."""
    (script.parent / "tacred_utils" / "cli" / "commands.py").write_text("print('its own')\nraise SystemExit\n")
    (tmp_path / "link.sh").symlink_to(script)
    (tmp_path / "cdpath" / script.parent.name).mkdir(parents=True)
    for command in (
        f"cd '{tmp_path}' && bash '{script.parent.name}/run_all.sh' --help",
        f"'{tmp_path / 'link.sh'}' --help",
    ):
        environment = os.environ | HOME | {"CDPATH": str(tmp_path / "cdpath")}
        shown = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=60)
        assert shown.stdout.splitlines()[-1] == "its own" and not shown.stderr, shown


def test_a_closed_output_is_no_trouble(script: Path):
    for closed in (">&-", "2>&-", ">&- 2>&- <&-"):
        shown = subprocess.run(
            ["bash", "-c", f"'{script}' --seeds x {closed}"], env=os.environ | HOME, capture_output=True, text=True
        )
        assert shown.returncode == 2 and "Traceback" not in shown.stderr and "rror: " not in shown.stdout, shown


def test_packages_on_an_inherited_path_complete_no_environment(script: Path, tmp_path: Path):
    """A pin that only PYTHONPATH offers is lacking: kernels and shells started elsewhere would not have it."""
    (script.parent / "requirements.txt").write_text("no-such-package==1.0\n")
    held = tmp_path / "held" / "no_such_package-1.0.dist-info"
    held.mkdir(parents=True)
    (held / "METADATA").write_text("Metadata-Version: 2.1\nName: no-such-package\nVersion: 1.0\n")
    (script.parent / ".venv").write_text("in the way")
    result = call(script, "--setup", PYTHONPATH=str(tmp_path / "held"), PIP_TARGET=str(tmp_path), **HOME)
    assert "lacks no-such-package==1.0" in result.stdout


def test_a_configuration_of_pip_that_leads_elsewhere_is_told_before_anything_is_installed(script: Path, tmp_path: Path):
    (tmp_path / "pip.conf").write_text(f"[install]\ntarget = {tmp_path / 'elsewhere'}\n")
    result = call(script, "--setup", PIP_CONFIG_FILE=str(tmp_path / "pip.conf"))
    assert result.returncode == 2 and "pip's configuration puts packages elsewhere (install.target=" in result.stderr
    assert not (tmp_path / "elsewhere").exists()


def test_an_environment_is_checked_by_importing(tmp_path: Path, monkeypatch):
    (tmp_path / "requirements.txt").write_text("msgspec==0.0.1  # why\n")
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    with pytest.raises(UserError, match=r"holds msgspec .*, not 0\.0\.1"):
        commands.check_environment()
    (tmp_path / "requirements.txt").write_text("no-such-package==1.0  # why\n")
    with pytest.raises(UserError, match="no-such-package cannot be imported"):
        commands.check_environment()


def test_a_moved_checkout_has_its_own_package_found(script: Path):
    """The file that leads notebooks opened by hand to the package is written again where the study lies now."""
    venv = script.parent / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (script.parent / "requirements.txt").write_text("# no pins\n")
    (venv / ".study").write_text("# no pins\n")
    (venv / ".encoder-tried").touch()
    packages = next(venv.glob("lib/python*/site-packages"))
    (packages / "tacred_study.pth").write_text("/where/it/lay/before")
    assert call(script, "--seeds", "x").returncode == 2
    assert (packages / "tacred_study.pth").read_text() == str(script.parent)


@pytest.mark.long
def test_report_renders_the_executed_notebooks(tmp_path: Path):
    """In the real environment, below another folder; what the command does not take is told."""
    active = {"VIRTUAL_ENV": sys.prefix}
    folder = tmp_path / "nothing here"
    result = call(
        ROOT / "run_all.sh", "--report", "--out", str(folder), "--results", str(folder), "--data-dir=x", **active
    )
    assert result.returncode == 0 and f"{folder}/index.html" in result.stdout, result
    pages = {path.name for path in folder.rglob("*.html")}
    assert pages >= {path.with_suffix(".html").name for path in EXECUTED.glob("*.ipynb")}
    assert "--force: does not go with --report" in one_sentence(
        call(ROOT / "run_all.sh", "--report", "--force", **active), 2
    )
