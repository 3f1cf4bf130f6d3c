"""The OpenAPI document tells the truth: what it allows is answered as it says, what it forbids is refused."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from serving.generate.models import ServedModel
from serving.settings import Settings
from tests.conftest import ROOT
from tests.serving.server import Server, serve

CONFIG = """
warnings = false
request-timeout = 60
[generation]
deterministic = true
max-examples = 10
no-shrink = true
[phases.coverage.checks]
# Its values lie at the limits of the document, which are wider than the model's.
positive_data_acceptance.enabled = false
[[operations]]
# Reads its body with the same function as /v1/videos, and then waits for the video. At this path the routes of
# single videos answer as well, for a video that is never there.
include-path = "/v1/videos/sync"
phases.coverage.enabled = false
generation.max-examples = 5
checks.allow_header_conformance.enabled = false
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "words", "leveled"])
def test_every_answer_is_documented(
    request: pytest.FixtureRequest, settings: Settings, tmp_path: Path, name: str
) -> None:
    """Schemathesis's own command: no error of the server, no answer that the document does not have."""
    model: ServedModel = request.getfixturevalue(name)
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    command = [Path(sys.executable).parent / "schemathesis", "--no-color", "run"]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "tests.serving.openapi_hooks", "PYTHONPATH": str(ROOT)}
    with serve([model], replace(settings, queue=10_000)) as server:
        done = subprocess.run(
            [*command, f"{server.url}/openapi.json"], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2000:]
        assert httpx2.get(f"{server.url}/ready").status_code == 200
        assert len(server.store.upkeep.ids()) > 10


@pytest.mark.parametrize("names", [["tiny"], ["words"], ["words", "tiny"]])
def test_the_document_says_whether_a_picture_is_needed(
    request: pytest.FixtureRequest, settings: Settings, names: list[str]
) -> None:
    with serve([request.getfixturevalue(name) for name in names], settings, with_worker=False) as server:
        told = httpx2.get(f"{server.url}/openapi.json").json()["paths"]
    for path in ("/v1/videos", "/v1/videos/sync"):
        for form in told[path]["post"]["requestBody"]["content"].values():
            assert ("input_reference" in form["schema"]["properties"]) is ("tiny" in names)
            assert form["schema"]["required"] == ["prompt", *(["input_reference"] if names == ["tiny"] else [])]


@pytest.mark.parametrize(("names", "level"), [(["tiny"], False), (["tiny", "leveled"], True)])
def test_the_document_says_whether_a_motion_level_is_taken(
    request: pytest.FixtureRequest, settings: Settings, names: list[str], level: bool
) -> None:
    with serve([request.getfixturevalue(name) for name in names], settings, with_worker=False) as server:
        told = httpx2.get(f"{server.url}/openapi.json").json()["paths"]
    for path in ("/v1/videos", "/v1/videos/sync"):
        for form in told[path]["post"]["requestBody"]["content"].values():
            assert ("motion_level" in form["schema"]["properties"]) is level


def test_the_document_is_complete(server: Server) -> None:
    told = httpx2.get(f"{server.url}/openapi.json").json()
    assert {
        "/v1/videos", "/v1/videos/{video_id}", "/v1/videos/{video_id}/content", "/v1/videos/{video_id}/remix",
        "/v1/videos/{video_id}/events", "/v1/videos/sync", "/v1/models", "/health", "/ready", "/metrics",
    } <= set(told["paths"])  # fmt: skip
    for path, item in told["paths"].items():
        for method, operation in item.items():
            assert operation["responses"]["default"]["content"], (method, path)
            assert operation["responses"]["200"]["content"], (method, path)
    forms = told["paths"]["/v1/videos"]["post"]["requestBody"]["content"]
    for kind, reference in (("multipart/form-data", "string"), ("application/json", "object")):
        schema = forms[kind]["schema"]
        assert schema["additionalProperties"] is False
        assert schema["required"] == ["prompt", "input_reference"]
        assert schema["properties"]["input_reference"]["type"] == reference
        steps = schema["properties"]["num_inference_steps"]["anyOf"]
        assert {"type": "integer", "minimum": 1, "maximum": 200} in steps
