"""The commands of the README and the code of the docs run as they stand."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import cli
from tests.clusters import cluster_of
from tests.conftest import ROOT
from tests.ports import free_port

BIN = Path(sys.executable).parent
DEMO = "motif demo --out demo"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the demo has run, as `make demo` runs it but for a shorter training."""
    folder = tmp_path_factory.mktemp("readme")
    done = motif(f"{DEMO} --steps 4", folder)
    assert done.returncode == 0, done.stderr
    assert "demo/dataset/inspect.html" in done.stderr
    told = json.loads(done.stdout)
    assert (told["page"], told["step"], told["videos"]) == ("demo/index.html", 4, 12)
    assert list(told["seconds"]) == ["sprites", "preprocess", "inspect", "train", "sample", "page"]
    assert told["right"] >= 9
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A cluster that commands join: the demo starts Ray by itself, but for each command that takes half a minute."""
    with cluster_of(2, tmp_path_factory.mktemp("cluster") / "elsewhere") as environment:
        yield environment


def motif(line: str, folder: Path, environment: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a line in a shell; without ``environment`` in that of the tests, but for its settings of AWS and Ray."""
    if environment is None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "RAY_"))}
    environment = environment | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_again_does_only_what_is_missing(place: Path) -> None:
    made = [path for kind in ("*.mp4", "*.safetensors", "*.parquet") for path in (place / "demo").rglob(kind)]
    written = {path: path.stat().st_mtime_ns for path in made}
    assert len(written) > 24
    done = motif(f"{DEMO} --steps 4", place)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["step"] == 4
    assert {path: path.stat().st_mtime_ns for path in made} == written
    done = motif(f"{DEMO} --steps 5", place)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["step"] == 5


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_of_the_readme_run(place: Path, cluster: dict[str, str]) -> None:
    lines = [line for block in blocks("README.md", "bash") for line in block.splitlines()]
    assert len(lines) >= 10
    for line in lines:
        done = motif(line, place, cluster)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        if line.endswith("--out demo/dataset"):
            assert '"planned": 0' in done.stdout
        if "explain" in line:
            assert "written" in done.stdout
    assert (place / "data/mine/inspect.html").stat().st_size > 100_000


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_of_the_training_page_run(place: Path, cluster: dict[str, str]) -> None:
    for line in [line for block in blocks("docs/training.md", "bash") for line in block.splitlines()]:
        done = motif(line, place, cluster)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert "Traceback" not in done.stderr
    assert (place / "runs/validation/validation.png").stat().st_size > 10_000
    assert (place / "runs/motif/samples/step-00000016/00.mp4").exists()
    assert "Figure 6" in (place / "runs/report.html").read_text()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_of_the_wan_page_run(place: Path, cluster: dict[str, str]) -> None:
    for line in [line for block in blocks("docs/wan.md", "bash") for line in block.splitlines()]:
        done = motif(line, place, cluster)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert "Traceback" not in done.stderr
    assert (place / "demo/wan/star.mp4").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_serving_page_runs(place: Path) -> None:
    """The first block serves; the other commands and the Python code ask it, as they stand but for the port."""
    trained = motif("motif train sprites --data demo/dataset --out runs/toy --steps 2", place)
    assert trained.returncode == 0, trained.stderr
    shutil.copy(next((place / "demo/samples/run").glob("*.png")), place / "star.png")
    serving, asking = blocks("docs/serving.md", "bash")
    port = str(free_port())
    with subprocess.Popen(
        [BIN / "motif", *serving.split()[1:], "--port", port], cwd=place, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            assert json.loads(server.stdout.readline())["url"].endswith(port)
            for line in asking.splitlines():
                url = f" --url http://127.0.0.1:{port}" if line.startswith("motif generate") else ""
                done = motif(line.replace(":8000", f":{port}") + url, place)
                assert done.returncode == 0, f"{line}\n{done.stderr}"
            (code,) = blocks("docs/serving.md", "python")
            done = subprocess.run(
                [sys.executable, "-c", code.replace(":8000", f":{port}")], cwd=place, capture_output=True, text=True
            )
            assert done.stdout.strip() == "completed 7", done.stderr
        finally:
            server.terminate()
    for name in ("star", "star2", "star3"):
        assert (place / f"{name}.mp4").read_bytes()[4:8] == b"ftyp"
    assert (place / "star2.mp4").read_bytes() == (place / "star3.mp4").read_bytes()


@pytest.mark.slow
def test_the_code_of_the_docs_runs(place: Path) -> None:
    for code in blocks("docs/dataset.md", "python"):
        done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("t h w (8, 8, 8) ")
    for query in blocks("docs/dataset.md", "sql"):
        code = f"import duckdb; print(len(duckdb.sql({query!r}).fetchall()))"
        done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True)
        assert done.stdout.strip() == "5", done.stderr


def test_recipes_whose_weights_are_missing_say_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The README's table names them; without network they must fail in one sentence, before anything starts."""
    monkeypatch.chdir(tmp_path)
    Path("a.mp4").write_bytes(b"")
    for recipe in ("motif", "laptop", "wan_ti2v_5b"):
        status = cli.run(f"preprocess {recipe} --manifest . --out data --dry-run".split())
        said = capsys.readouterr().err
        assert status == 2
        assert re.match(r"motif: .*(weights|model)", said), said
        assert len(said.strip().splitlines()) == 1
    assert not Path("data").exists()


def test_every_error_class_is_in_the_docs() -> None:
    known = (ROOT / "docs/dataset.md").read_text()
    source = "\n".join(path.read_text() for path in (ROOT / "pipeline").rglob("*.py"))
    raised = set(re.findall(r'VideoError\(\s*"(\w+)"', source)) | set(re.findall(r'f?"((?:[A-Z][a-z]+){2,}): ', source))
    assert {"Timeout", "BadRow"} <= raised
    assert not {name for name in raised if name not in known}


def test_every_file_that_the_readme_names_is_there() -> None:
    pages = ("training", "serving", "evaluation", "operations", "cluster", "scale", "wan")
    for page in ("README.md", "CONTRIBUTING.md", *(f"docs/{name}.md" for name in pages)):
        named = re.findall(r"`((?:\w+/)+[\w.]*)`|\]\((\w[\w/.]+)\)", (ROOT / page).read_text())
        for name in {first or second for first, second in named}:
            if not name.startswith(("demo/", "data/", "weights/", "runs/", "RUN/", "DATASET/")):
                assert (ROOT / name).exists() or (ROOT / page).parent.joinpath(name).exists(), name
