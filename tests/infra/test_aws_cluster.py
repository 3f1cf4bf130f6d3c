"""The file of `ray up`: valid, with options that Ray has, and nodes as the Kubernetes manifests have them."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from jsonschema import Draft7Validator
from ray.scripts.scripts import start

from tests.conftest import ROOT

CLUSTER: dict[str, Any] = yaml.safe_load((ROOT / "infra/aws/cluster.yaml").read_text())
TYPES = CLUSTER["available_node_types"]


def test_the_file_is_valid() -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler/ray-schema.json").read_text())
    assert [f"{fault.json_path}: {fault.message}" for fault in Draft7Validator(schema).iter_errors(CLUSTER)] == []
    assert CLUSTER["head_node_type"] in TYPES
    assert sum(kind.get("max_workers", 0) for kind in TYPES.values()) == CLUSTER["max_workers"]


@pytest.mark.parametrize("name", ["head_start_ray_commands", "worker_start_ray_commands"])
def test_ray_starts_with_options_that_it_has(name: str) -> None:
    stop, line = CLUSTER[name]
    assert stop == "ray stop"
    program, command, *options = shlex.split(line)
    assert (program, command) == ("ray", "start")
    start.make_context("start", options)


def test_nodes_ask_for_the_token() -> None:
    assert "--env RAY_AUTH_MODE=token" in CLUSTER["docker"]["run_options"]
    assert "~/.ray/auth_token" in CLUSTER["file_mounts"]


def test_the_head_is_kept_and_the_others_are_on_spot() -> None:
    for name, kind in TYPES.items():
        spot = kind["node_config"].get("InstanceMarketOptions") == {"MarketType": "spot"}
        assert spot == (name != CLUSTER["head_node_type"])


def test_decoding_stays_off_the_head_and_the_gpus() -> None:
    assert TYPES["head"]["resources"] == {"CPU": 0}
    assert TYPES["gpu"]["resources"] == {"CPU": 0, "GPU": 1}
    assert TYPES["gpu"]["docker"]["worker_image"].endswith("/motif:gpu")


def test_images_are_those_of_the_dockerfile_with_a_home() -> None:
    """Ray mounts the token into the home that the image's environment names, and copies files by ssh and rsync."""
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    images = [
        CLUSTER["docker"]["head_image"],
        CLUSTER["docker"]["worker_image"],
        TYPES["gpu"]["docker"]["worker_image"],
    ]
    for image in images:
        assert f"FROM base AS {image.rpartition(':')[2]}\n" in dockerfile
    base = dockerfile.split("FROM base")[0]
    assert " HOME=" in base
    assert "openssh-client" in base
    assert "rsync" in base
