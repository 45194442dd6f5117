"""The house: rooms, one-way arrows between them, and sizes, read from the source itself."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

from tacred_utils.ground.paths import PACKAGE

# What each room may import beside itself. A room above may use all that is below it; `cli` stands above them all.
MAY_IMPORT = {
    "ground": set(),
    "corpora": {"ground"},
    "sample": {"ground", "corpora"},
    "inputs": {"ground", "corpora"},
    "metrics": {"ground", "corpora"},
    "models": {"ground", "corpora", "inputs", "metrics"},
    "runs": {"ground", "corpora", "sample", "inputs", "metrics", "models"},
    "paper": {"ground", "corpora", "sample", "inputs", "metrics", "runs"},
    "notebook": {"ground", "corpora", "sample", "inputs", "metrics", "models", "runs", "paper"},
    "cli": {"ground", "corpora", "sample", "inputs", "metrics", "models", "runs", "paper", "notebook"},
}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)
LONGEST_MODULE, LONGEST_FUNCTION, MOST_LINES = 400, 40, 9_000


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


def imports(path: Path) -> set[str]:
    """The modules of the package that a module imports, at its top or inside a function, and those it names as text."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tacred_utils"):
            found |= {f"{node.module}.{name.name}" for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name.startswith("tacred_utils")}
        elif isinstance(node, ast.Constant) and str(node.value).startswith("tacred_utils."):
            found.add(node.value)
    return found


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_arrows_between_rooms_go_one_way(name):
    allowed = MAY_IMPORT[name] | {name}
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {target}"
        for path in MODULES
        if room(path) == name
        for target in imports(path)
        if target.split(".")[1] not in allowed
    ]
    assert not wrong


def test_no_module_imports_itself_in_a_circle():
    arrows = defaultdict(set)
    names = {".".join(["tacred_utils", *path.relative_to(PACKAGE).with_suffix("").parts]) for path in MODULES}
    for path in MODULES:
        own = ".".join(["tacred_utils", *path.relative_to(PACKAGE).with_suffix("").parts])
        for target in imports(path):
            arrows[own] |= {known for known in (target, target.rpartition(".")[0]) if known in names and known != own}

    def walk(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " → ".join([*above[above.index(module) :], module])
        if module not in done:
            for target in sorted(arrows[module]):
                walk(target, (*above, module))
            done.add(module)

    done: set[str] = set()
    for module in sorted(names):
        walk(module, ())


def test_there_are_at_most_nine_rooms_and_each_says_what_is_in_it():
    rooms = {room(path) for path in MODULES} - {"cli"}
    assert rooms == set(MAY_IMPORT) - {"cli"} and len(rooms) <= 9
    for name in rooms:
        assert (
            len(ast.get_docstring(ast.parse((PACKAGE / name / "__init__.py").read_text(encoding="utf-8"))) or "") > 40
        )


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.xfail(strict=True, reason="the package has outgrown its limit: what nobody would miss has to go")
def test_the_whole_stays_small():
    assert sum(map(lines, PACKAGE.rglob("*.py"))) <= MOST_LINES


def test_modules_and_functions_stay_small():
    assert {path.name: lines(path) for path in PACKAGE.rglob("*.py") if lines(path) > LONGEST_MODULE} == {}
    long = {
        f"{path.name}:{node.name}": node.end_lineno - node.lineno + 1
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    }
    assert long == {}


def test_the_sample_takes_only_the_row_from_corpora():
    taken = {target for path in MODULES if room(path) == "sample" for target in imports(path)}
    assert all(
        [
            target.startswith("tacred_utils.corpora.example.")
            for target in taken
            if target.startswith("tacred_utils.corpora")
        ]
    )
