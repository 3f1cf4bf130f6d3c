"""The image definitions: linted, complete, without defaults for secrets. Building them takes a quarter of an hour."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import boto3
import pytest
import yaml

from serving.deploy.config import Replicas
from tests.conftest import ROOT

DOCKERFILE = (ROOT / "docker/Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())
TARGETS = re.findall(r"^FROM \S+ AS (\w+)$", DOCKERFILE, re.MULTILINE)


def test_the_dockerfile_is_clean() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, ROOT / "docker/Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("target", ["cpu", "gpu", "serve"])
def test_final_stages_have_no_build_tools_and_no_root(target: str) -> None:
    stage = DOCKERFILE.split(f" AS {target}\n")[1].split("\nFROM ")[0]
    assert f"FROM base AS {target}" in DOCKERFILE
    assert re.search(r"^USER 1000$", stage, re.MULTILINE)  # a number: Kubernetes checks runAsNonRoot by it
    assert "RUN" not in stage
    assert "org.opencontainers.image.title" in stage


def test_the_build_context_has_every_package_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == {
        *packages, "LICENSE", "README.md", "constraints.txt", "pyproject.toml"
    }  # fmt: skip


def test_compose_builds_what_there_is_and_opens_nothing_to_others() -> None:
    for name, service in COMPOSE["services"].items():
        if "build" in service:
            assert service["build"]["target"] in TARGETS, name
            assert service["image"] == f"motif:{service['build']['target']}"
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name


def test_compose_has_no_default_for_a_secret() -> None:
    values = COMPOSE["x-node"]["environment"]
    for name in ("RAY_AUTH_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        assert values[name].startswith(f"${{{name}:?"), name


def test_a_bucket_that_is_there_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """SeaweedFS refuses to create it twice, and the other services wait for this one each time they start."""
    made: list[str] = []

    class Store:
        def list_buckets(self) -> dict[str, list[dict[str, str]]]:
            return {"Buckets": [{"Name": name} for name in made]}

        def create_bucket(self, **named: str) -> None:
            assert named["Bucket"] not in made, "BucketAlreadyExists"
            made.append(named["Bucket"])

    monkeypatch.setattr(boto3, "client", lambda kind: Store())
    for _ in range(2):
        exec(COMPOSE["services"]["bucket"]["command"][-1], {})
    assert made == ["motif"]


def test_a_container_that_is_stopped_finishes_its_videos() -> None:
    """Docker kills after ten seconds by default; and process 1 ignores a signal that it does not handle."""
    server = COMPOSE["services"]["server"]
    assert float(server["stop_grace_period"].removesuffix("s")) > Replicas().drain_seconds
    assert server["init"] is COMPOSE["x-node"]["init"] is True
