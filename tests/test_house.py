"""Rules of the house that no linter holds: directions of imports, sizes of files and functions, names that are said."""

import ast
import importlib.metadata
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("base", "media", "diffusion", "models", "dataset", "pipeline", "training", "serving", "infra", "benchmarks")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
RAY = {
    "base/ray_session.py",
    "pipeline/graph/graph.py",
    "pipeline/graph/monitor_actor.py",
    "serving/deploy/app.py",
    "training/run/ray_train.py",
}
PEERS = {ROOT / "infra/commands", ROOT / "benchmarks"}
LONGEST_FILE, LONGEST_FUNCTION = 300, 40


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))


def test_imports_run_downwards() -> None:
    """The contracts are in pyproject.toml."""
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def test_ray_is_imported_in_few_files() -> None:
    """All the rest runs where there is no Ray."""
    importing = {
        str(path.relative_to(ROOT))
        for path in FILES
        if path.parts[len(ROOT.parts)] != "benchmarks"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        if name.split(".")[0] == "ray"
    }
    assert importing == RAY


def test_no_folder_is_crowded() -> None:
    """At most twelve files of code beside its sub-folders; a folder of peers, one file a command, may hold more."""
    for folder in {path.parent for path in FILES} - PEERS:
        assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= 12, folder


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sizes(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST_FILE
    for function in functions(path):
        assert function.end_lineno is not None
        first = function.body[0].lineno if ast.get_docstring(function) is None else function.body[0].end_lineno
        assert function.end_lineno - (first or 0) <= LONGEST_FUNCTION, function.name


def test_every_dependency_is_declared() -> None:
    """What the packages import is what pyproject.toml names, and nothing is named for nothing."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    declared = project["dependencies"] + [text for name in optional.keys() - {"test", "dev"} for text in optional[name]]
    names = {text.split("[")[0].split(">")[0].split("~")[0].strip().lower().replace("_", "-") for text in declared}
    imported = {
        (alias.name if isinstance(node, ast.Import) else node.module or "").split(".")[0]
        for path in FILES
        if path.parts[len(ROOT.parts)] != "benchmarks"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    owners = importlib.metadata.packages_distributions()
    third_party = imported - set(sys.stdlib_module_names) - set(PACKAGES)
    # botocore comes with boto3, whose errors it holds; fsspec is asked for, not required.
    missing = {
        name
        for name in third_party - {"botocore", "fsspec"}
        if not names & {o.lower().replace("_", "-") for o in owners[name]}
    }
    assert not missing


def test_the_package_has_no_machine_in_it() -> None:
    """No absolute path of somebody's machine, no registry's address."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    words = ["/ho" + "me/", "/ro" + "ot/", "--index" + "-url", "http" + "s://pypi"]
    for name in tracked.stdout.split():
        path = ROOT / name
        if path.suffix in (".py", ".toml", ".md", ".txt", ".json", ".html", "") and path.is_file():
            text = path.read_text(errors="ignore")
            assert not [word for word in words if word in text], name


def test_no_test_imports_another_test_module() -> None:
    """What tests share is in modules of their own, named for what they hold."""
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").rpartition(".")[2].startswith("test_"), path


FOREIGN = {"_exit", "_private", "_compiled_call_impl"}  # of os, of Ray, of torch: none has a public name


def test_tests_use_no_private_names() -> None:
    """What a test needs to see of our code is public; names of a test's own objects may be private."""
    for path in (ROOT / "tests").rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
                assert not [alias.name for alias in node.names if alias.name.startswith("_")], path
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                mine = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
                assert mine or node.attr in FOREIGN, f"{path}:{node.lineno} {node.attr}"
