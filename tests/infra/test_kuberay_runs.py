"""What the Kubernetes manifests run, at toy size on the test cluster."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import ray
import yaml
from ray import serve

from serving.generate.models import ServedModel
from tests.conftest import ROOT
from tests.infra.conftest import Motif
from tests.infra.kustomize import build, commands, identity
from tests.ports import free_port
from tests.serving.calls import create, events
from tests.serving.conftest import tiny  # noqa: F401 - a fixture

pytestmark = pytest.mark.slow
AWS = {identity(made): made for made in build(ROOT / "infra/kuberay/overlays/aws")}


def test_the_preprocessing_job(ray_cluster: None, bucket: str, sprites_folder: Path, motif: Motif) -> None:
    toy = {"motif": "sprites", "cuda": "cpu", "8": "1", "120": "1"}
    toy |= {
        "s3://motif/videos.parquet": str(sprites_folder / "manifest.csv"),
        "s3://motif/dataset": f"{bucket}/dataset",
    }
    for args in commands(AWS["RayJob", "motif-preprocess"]):
        status, _, said = motif(*(toy.get(arg, arg) for arg in args))
        assert status == 0, said
    assert motif("dataset", "verify", f"{bucket}/dataset")[0] == 0


@pytest.fixture
def url(ray_cluster: None, tiny: ServedModel, tmp_path: Path) -> Iterator[str]:  # noqa: F811
    """The application of the RayService, deployed from its file as KubeRay does, with a tiny model."""
    file = yaml.safe_load(AWS["RayService", "motif-server"]["spec"]["serveConfigV2"])
    args = file["applications"][0]["args"]
    (tmp_path / "keys").write_text("a key of the secret\n")
    args["models"][0]["uri"], args["keys"] = tiny.uri, str(tmp_path / "keys")
    args["settings"] = {"folder": str(tmp_path / "served")}
    args["compute"]["precision"] = "float32"
    args["replicas"] |= {"api": 1, "max_workers": 1, "gpus": 0}
    file["http_options"] = {"host": "127.0.0.1", "port": free_port()}
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(file))
    program = Path(sys.executable).with_name("serve")
    address = ray.get_runtime_context().gcs_address
    command = [program, "run", "--non-blocking", "--address", address, tmp_path / "serve.yaml"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    try:
        yield f"http://127.0.0.1:{file['http_options']['port']}"
    finally:
        serve.shutdown()


def test_the_service(url: str) -> None:
    deadline = time.monotonic() + 300
    while serve.status().applications["motif"].status != "RUNNING":
        assert time.monotonic() < deadline, serve.status()
        time.sleep(0.1)
    assert httpx2.get(f"{url}/v1/models").status_code == 401
    with httpx2.Client(base_url=url, headers={"Authorization": "Bearer a key of the secret"}, timeout=120) as client:
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["motif"]
        assert events(client, create(client)["id"])[-1][0] == "completed"
