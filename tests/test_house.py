"""Rules of the house that no linter holds: directions of imports, sizes of files and functions, names that are said."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = (
    "base",
    "media",
    "diffusion",
    "models",
    "dataset",
    "pipeline",
    "training",
    "serving",
    "evaluation",
    "infra",
    "benchmarks",
)
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
RAY = {
    "base/ray_metrics.py",
    "base/ray_session.py",
    "evaluation/bench/on_ray.py",
    "evaluation/sprites_study/on_ray.py",
    "infra/submission/cluster.py",
    "pipeline/graph/graph.py",
    "pipeline/graph/monitor_actor.py",
    "pipeline/graph/pacing.py",
    "serving/deploy/app.py",
    "training/run/ray_train.py",
}
PEERS = {ROOT / "infra/commands", ROOT / "benchmarks"}
LONGEST_FILE, LONGEST_FUNCTION = 300, 40
PRIVATE = re.compile(r"_[a-zA-Z]\w*")
IN_CODE = re.compile(r"[\w.)\]]+\._[a-zA-Z]\w*|(?<=import )_[a-zA-Z]\w*")
BY_NAME = {"getattr", "setattr", "delattr", "hasattr", "attrgetter"}
UNSAFE = {
    *(f"{module}.{name}" for module in ("pickle", "cloudpickle", "dill", "marshal") for name in ("load", "loads")),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "joblib.load", "shelve.open", "pickle.Unpickler"),
    *("eval", "exec", "torch.jit.load"),
}
# Private names of libraries that have no public counterpart, and what tests use them for.
WITHOUT_ANOTHER_NAME = {"os._exit": "ends a process at once, as a crash does"}


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))


def own_names(nodes: list[ast.AST]) -> set[str]:
    """What the classes of a module define, and the attributes that it sets."""
    found = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    for statement in (statement for node in nodes if isinstance(node, ast.ClassDef) for statement in node.body):
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(statement.name)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            found |= {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    return found


def private_names(source: str) -> Iterator[str]:
    """The private names (one leading underscore) that a module uses from elsewhere.

    ``self._name`` and ``cls._name`` are allowed if a class of the module defines the name. Strings are searched, too:
    names of attributes for ``setattr`` and its like, and code for other processes.
    """
    nodes = list(ast.walk(ast.parse(source)))
    own = own_names(nodes)
    for node in nodes:
        names: list[str] = []
        if isinstance(node, ast.Attribute):
            of_itself = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls") and node.attr in own
            names = [ast.unparse(node)] if PRIVATE.fullmatch(node.attr) and not of_itself else []
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            names = [module + alias.name for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in BY_NAME:
            names = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = IN_CODE.findall(node.value)
        yield from (name for name in names if any(map(PRIVATE.fullmatch, re.split(r"\W+", name))))


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


def unsafe_loads(source: str) -> Iterator[str]:
    """Calls that run code which is in the data that they load."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name, given = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
            unsafe = name in UNSAFE or (name == "torch.load" and given.get("weights_only") != "True")
            if unsafe or "True" in (given.get("allow_pickle"), given.get("trust_remote_code")):
                yield name


def test_nothing_that_is_loaded_can_run_code() -> None:
    """No pickle, no YAML of any type, from data, models or checkpoints of others."""
    found = {(str(path.relative_to(ROOT)), name) for path in FILES for name in unsafe_loads(path.read_text())}
    assert found == {
        ("training/run/ray_train.py", "pickle.loads"),  # a job on its way to its own workers
        ("evaluation/metrics/networks/i3d.py", "torch.jit.load"),  # a program, which the user names and may bind
    }


@pytest.mark.parametrize(
    ("source", "unsafe"),
    [
        ("pickle.load(stream)", True),
        ("yaml.load(text)", True),
        ("torch.load(path)", True),
        ("torch.load(path, weights_only=False)", True),
        ("np.load(path, allow_pickle=True)", True),
        ("AutoModel.from_pretrained(name, trust_remote_code=True)", True),
        ("torch.load(path, weights_only=True); np.load(path); yaml.safe_load(text); json.load(stream)", False),
    ],
)
def test_what_counts_as_an_unsafe_load(source: str, unsafe: bool) -> None:
    assert bool(list(unsafe_loads(source))) is unsafe


def test_no_test_imports_another_test_module() -> None:
    """What tests share is in modules of their own, named for what they hold."""
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").rpartition(".")[2].startswith("test_"), path


def test_tests_call_no_private_names() -> None:
    """A module may be rewritten, and its tests, which only use what it promises, stay."""
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if path != Path(__file__)  # which has examples, below
        for name in private_names(path.read_text())
        if name not in WITHOUT_ANOTHER_NAME
    ]
    assert found == []


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("reader._files.clear()", ["reader._files"]),
        ("open(name)._thread", ["open(name)._thread"]),
        ("from training.data.loader import Share, _groups", ["training.data.loader._groups"]),
        ("import models._unet", ["models._unet"]),
        ("from models._unet import Block", ["models._unet.Block"]),
        ("monkeypatch.setattr(progress, '_LINE_EVERY_S', 0)", ["_LINE_EVERY_S"]),
        ("monkeypatch.setattr('dataset.reading._OPEN_FILES', 1)", ["dataset.reading._OPEN_FILES"] * 2),
        ("run('print(worker._child.pid)')", ["worker._child"]),
        ("run(f'import {module}; from os import _exit')", ["_exit"]),
        ("class Reads:\n  def __init__(self):\n    self._seen = 0\n  def seen(self):\n    return self._seen", []),
        ("class Reads:\n  @property\n  def _seen(self): ...\n  def seen(self):\n    return self._seen", []),
        ("class Reads:\n  _seen = 0\n  def seen(self):\n    return self._seen", []),
        ("class Reads(Source):\n  def seen(self):\n    return self._groups", ["self._groups"]),
        ("class Reads:\n  @classmethod\n  def seen(cls):\n    return cls._groups", ["cls._groups"]),
        ("def _helper(): ...\n_helper().__class__", []),
    ],
)
def test_what_counts_as_a_private_name(source: str, names: list[str]) -> None:
    assert list(private_names(source)) == names
