"""A server for those who mean it no good, and what may not be seen of it, or stay on it."""

import base64
import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from serving.generate.models import ServedModel
from serving.settings import Settings
from tests.conftest import ROOT
from tests.serving.server import Server, serve


@contextmanager
def target_in(folder: Path, model: ServedModel) -> Iterator[Server]:
    """A server whose temporary files, as large uploads make them, have a folder of their own."""
    spool = folder / "spool"
    spool.mkdir()
    before, tempfile.tempdir = tempfile.tempdir, str(spool)
    try:
        with serve([model], Settings(str(folder / "served"), queue=10_000)) as server:
            yield server
    finally:
        tempfile.tempdir = before


def check_traces(target: Server, client: httpx2.Client, caplog: pytest.LogCaptureFixture) -> None:
    """The server lives, has logged no fault of its own, and keeps files of its jobs alone."""
    assert client.get("/health").json() == {"status": "ok"}
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    kept = {path.name for path in target.files.iterdir()} if target.files.exists() else set()
    assert kept == target.store.upkeep.ids()


def refusal(answer: httpx2.Response) -> tuple[int, str, str | None]:
    """Status, code and parameter of a refusal; it tells nothing else."""
    found = answer.json()
    assert found.keys() == {"error"}
    error = found["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert 5 < len(error["message"]) < 500
    assert error["type"] in ("invalid_request_error", "not_found_error", "conflict_error")
    told = answer.text + str(answer.headers)
    for inside in (str(ROOT), sys.prefix, tempfile.gettempdir(), "Traceback", '.py"', "0x", "site-packages", "<class"):
        assert inside not in told
    return answer.status_code, error["code"], error["param"]


def form(
    client: httpx2.Client, picture: bytes, name: str = "a.png", kind: str = "image/png", **fields: Any
) -> httpx2.Response:
    files = {"input_reference": (name, picture, kind)}
    return client.post("/v1/videos", data={"prompt": "a", **fields}, files=files)


def as_json(client: httpx2.Client, picture: bytes, **fields: Any) -> httpx2.Response:
    url = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    return client.post("/v1/videos", json={"prompt": "a", "input_reference": {"image_url": url}, **fields})
