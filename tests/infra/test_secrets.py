"""No secret of the environment or of an option is in what motif writes, says or sends."""

import json
import platform
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import ray

from base.errors import InputError, StorageError
from base.storage.folder import Folder
from base.storage.uri import without_password
from infra.submission.cluster import Cluster
from serving.generate.models import ServedModel
from serving.jobs.tables import open_database
from tests.infra.conftest import Motif
from tests.pipeline.conftest import Preprocessing
from tests.serving.conftest import tiny  # noqa: F401 - a fixture
from tests.training.conftest import toy_dataset  # noqa: F401 - a fixture
from tests.training.runs import toy_job, train_here

SECRET = "swordfish-4d1f"
VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN", "MOTIF_API_KEY", "PGPASSWORD", "RAY_AUTH_TOKEN")


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, f"{SECRET}-{name}")


def files_with_secrets(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def test_a_dataset_and_a_run(
    preprocess: Preprocessing, sprites_folder: Path, toy_dataset: Folder, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    video = next((sprites_folder / "videos").glob("*.mp4"))
    (tmp_path / "m.csv").write_text(f"video,caption\n{video},c\n")
    preprocess(tmp_path / "m.csv", tmp_path / "d")
    train_here(toy_job(toy_dataset, tmp_path / "run", steps=1))
    assert list((tmp_path / "d" / "runs").glob("*.json"))
    assert (tmp_path / "run" / "config.json").exists()
    assert files_with_secrets(tmp_path) == []


def test_the_config_file_of_a_server(motif: Motif, tiny: ServedModel, tmp_path: Path) -> None:  # noqa: F811
    keys, file = tmp_path / "keys.txt", tmp_path / "serve.yaml"
    keys.write_text(f"{SECRET}-of-a-user\n")
    options = ("--host", "0.0.0.0", "--keys", keys, "--write-config", file)
    url = f"postgresql+psycopg://motif:{SECRET}@db/motif"
    status, _, said = motif("serve", tiny.uri, *options, "--database", url)
    assert (status, file.exists()) == (2, False)
    assert f"--database postgresql+psycopg://motif:***@db/motif: its password would be written to {file}" in said
    status, _, said = motif("serve", tiny.uri, *options, "--database", "postgresql+psycopg://motif@db/motif")
    assert (status, SECRET in said) == (0, False), said
    assert files_with_secrets(tmp_path) == ["keys.txt"]


@pytest.mark.parametrize(
    ("url", "error"),
    [
        (f"postgresql+psycopg://motif:{SECRET}@127.0.0.1:1/motif?connect_timeout=2", StorageError),
        (f"postgresql+psycopg//motif:{SECRET}@db/motif", InputError),
        (f"postgresql+nothing://motif:{SECRET}@db/motif", InputError),
        (f"postgresql+psycopg://127.0.0.1:1/motif?password={SECRET}&connect_timeout=2", StorageError),
    ],
)
def test_a_database_that_cannot_be_opened(url: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"database '.*\*\*\*") as caught:
        open_database(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://a:b@host:8000/v1", "http://a:***@host:8000/v1"),
        ("postgresql://a:p@ss/wo:rd@host/name", "postgresql://a:***@host/name"),
        ("postgresql://a@host/name?sslpassword=b&x=1", "postgresql://a@host/name?sslpassword=***&x=1"),
        ("https://b.s3/k?X-Amz-Signature=1f&x=1", "https://b.s3/k?X-Amz-Signature=***&x=1"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("s3://bucket/folder@2", "s3://bucket/folder@2"),
        ("sqlite:////var/lib/jobs.sqlite", "sqlite:////var/lib/jobs.sqlite"),
    ],
)
def test_what_is_hidden_of_a_url(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.fixture
def dashboard() -> Iterator[tuple[str, list[str]]]:
    """A server that answers as Ray's dashboard does to a submission; yields its address, and all that it was sent."""
    sent: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            started = any("entrypoint" in body for body in sent)
            facts = {"rayVersion": ray.__version__, "pythonVersion": platform.python_version()}
            job = {"type": "SUBMISSION", "status": "PENDING", "entrypoint": "python -m infra"}
            known = started or "/api/jobs/" not in self.path
            self.answer({"version": "4", "ray_version": ray.__version__, "data": facts, **job}, 200 if known else 404)

        def do_POST(self) -> None:
            sent.append(self.rfile.read(int(self.headers["Content-Length"])).decode(errors="replace"))
            self.answer({"job_id": "1", "submission_id": "1"}, 200)

        def answer(self, body: dict[str, object], status: int) -> None:
            self.send_response(status)
            self.end_headers()
            missing = f"Job {self.path.rpartition('/')[2]} does not exist"
            self.wfile.write((json.dumps(body) if status == 200 else missing).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", sent
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_description_of_a_job(dashboard: tuple[str, list[str]], tmp_path: Path) -> None:
    address, sent = dashboard
    (tmp_path / "sources.py").write_text("")
    Cluster(address).submit(["preprocess", "sprites", "--out", "s3://b/d"], tmp_path)
    (job,) = sent
    assert json.loads(job)["entrypoint"] == "python -m infra preprocess sprites --out s3://b/d"
    assert SECRET not in job
