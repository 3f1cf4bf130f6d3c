"""The Kubernetes manifests: valid, with commands that exist, on nodes that suit them, without secrets or privileges."""

import importlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import ray
import yaml
from jsonschema import Draft202012Validator
from ray.scripts.scripts import start
from ray.serve.schema import ServeDeploySchema

from pipeline.graph.layout import lay_out
from pipeline.recipes import Preprocess
from serving.deploy.config import Config, read_config
from tests.conftest import ROOT, SHARED
from tests.infra.kustomize import Manifest, build, commands, containers, identity, mappings, pods

PLACE = ROOT / "infra/kuberay/overlays"
OVERLAYS = ("toy", "aws")  # between them, everything
KINDS = {"RayCluster": "spec", "RayJob": "spec.rayClusterSpec", "RayService": "spec.rayClusterConfig"}
BUILT = {folder: build(PLACE / folder) for folder in OVERLAYS}
ALL = [pytest.param(made, id="-".join(identity(made))) for folder in OVERLAYS for made in BUILT[folder]]
OF_RAY = [case for case in ALL if case.id.split("-")[0] in KINDS]
CORE = [case for case in ALL if case not in OF_RAY and not case.id.startswith("PodMonitor-")]
AWS = {identity(made): made for made in BUILT["aws"]}


def cluster_of(manifest: Manifest) -> dict[str, Any]:
    for key in KINDS[manifest["kind"]].split("."):
        manifest = manifest[key]
    return manifest


def groups(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def strict(schema: Any) -> Any:
    """A schema that refuses unknown fields. Kubernetes drops them, so that a misspelled one does nothing."""
    if isinstance(schema, list):
        return [strict(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {} if "additionalProperties" in schema or "properties" not in schema else {"additionalProperties": False}
    return {key: strict(inner) for key, inner in schema.items()} | closed


@pytest.mark.parametrize("manifest", OF_RAY)
def test_ray_manifests_are_valid(manifest: Manifest) -> None:
    path = SHARED / f"kuberay/{manifest['kind'].lower()}.v1.schema.json"
    if not path.exists():
        pytest.skip(f"{path}, the operator's schema, is not there")
    schema = strict(json.loads(path.read_text()))
    assert [f"{fault.json_path}: {fault.message}" for fault in Draft202012Validator(schema).iter_errors(manifest)] == []


@pytest.mark.parametrize("manifest", CORE)
def test_core_manifests_are_valid(manifest: Manifest) -> None:
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("folder", OVERLAYS)
def test_kubectl_builds_the_same(folder: str) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not there")
    done = subprocess.run(["kubectl", "kustomize", PLACE / folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(yaml.safe_load_all(done.stdout), key=identity) == sorted(BUILT[folder], key=identity)


@pytest.mark.parametrize("manifest", ALL)
def test_pods_have_no_privileges_and_say_what_they_use(manifest: Manifest) -> None:
    for pod in pods(manifest):
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(manifest):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"].keys() == container["resources"]["limits"].keys() >= {"cpu", "memory"}


def test_every_secret_is_made_by_a_command_of_the_page() -> None:
    page = (ROOT / "docs/cluster.md").read_text().replace("\\\n", "")
    made = {
        line.split()[4]: set(re.findall(r"--from-\w+=([\w-]+)=", line))
        for line in page.splitlines()
        if line.strip().startswith("kubectl create secret generic")
    }
    for found in mappings(list(BUILT.values())):
        assert found.get("kind") != "Secret"
        assert not (re.search("KEY|PASSWORD|SECRET|TOKEN", str(found.get("name"))) and "value" in found)
        if "secretRef" in found:
            assert found["secretRef"]["name"] in made
        if "secretKeyRef" in found:
            assert found["secretKeyRef"]["key"] in made[found["secretKeyRef"]["name"]]
        if "secretName" in found:
            assert {item["key"] for item in found["items"]} <= made[found["secretName"]]


def test_what_manifests_name_is_there() -> None:
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    for manifests in BUILT.values():
        there = {identity(made) for made in manifests}
        for found in mappings(manifests):
            if "configMapRef" in found:
                assert ("ConfigMap", found["configMapRef"]["name"]) in there
            if "serviceAccountName" in found:
                assert ("ServiceAccount", found["serviceAccountName"]) in there
        for container in containers(manifests):
            name, _, tag = container["image"].rpartition(":")
            assert f"FROM base AS {tag}\n" in dockerfile or not name.endswith("motif")


@pytest.mark.parametrize("manifest", OF_RAY)
def test_clusters_ask_for_a_token_and_have_the_version_of_the_images(manifest: Manifest) -> None:
    cluster = cluster_of(manifest)
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["rayVersion"] == ray.__version__
    assert f"ray=={ray.__version__}\n" in (ROOT / "constraints.txt").read_text()


@pytest.mark.parametrize("manifest", OF_RAY)
def test_ray_starts_with_options_that_it_has(manifest: Manifest) -> None:
    for group in groups(cluster_of(manifest)):
        options = [f"--{name}={value}" for name, value in group["rayStartParams"].items()]
        start.make_context("start", options)


@pytest.mark.parametrize("manifest", OF_RAY)
def test_the_head_has_no_work_and_is_not_on_spot(manifest: Manifest) -> None:
    head = cluster_of(manifest)["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert "tolerations" not in head["template"]["spec"]


def allowed(policy: Manifest, pod_labels: dict[str, str]) -> bool:
    return policy["spec"]["podSelector"]["matchLabels"].items() <= pod_labels.items()


def test_the_network_policy_holds_for_every_pod_of_ours() -> None:
    policy = AWS["NetworkPolicy", "motif"]
    for folder in OVERLAYS:
        for found in mappings(BUILT[folder]):
            if isinstance(found.get("spec"), dict) and "containers" in found["spec"]:
                assert allowed(policy, found["metadata"]["labels"])


def test_prometheus_reaches_the_metrics_of_every_node() -> None:
    """On port 8080, which KubeRay names `metrics`; it labels the pods, too, unless they say otherwise."""
    monitor = AWS["PodMonitor", "motif"]
    assert monitor["spec"]["podMetricsEndpoints"] == [{"port": "metrics"}]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    for manifest in (case.values[0] for case in OF_RAY):
        for group in groups(cluster_of(manifest)):
            assert "metrics-export-port" not in group["rayStartParams"]
            assert wanted <= (group["template"]["metadata"]["labels"] | {"ray.io/is-ray-node": "yes"}).items()
    rules = AWS["NetworkPolicy", "motif"]["spec"]["ingress"]
    (ports,) = [
        rule["ports"]
        for rule in rules
        if rule["from"][0]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "prometheus"}
    ]
    assert ports == [{"protocol": "TCP", "port": 8080}]


JOBS = ("motif-preprocess", "motif-train")


@pytest.mark.parametrize("name", JOBS)
def test_the_commands_of_jobs_have_the_options_that_they_use(name: str) -> None:
    unlock, (command, *args) = commands(AWS["RayJob", name])
    options = importlib.import_module(f"infra.commands.{command}").read(args)
    assert unlock == ["unlock", options.out]


def nodes(cluster: dict[str, Any], count: str) -> dict[str, int]:
    """What Ray counts on ``count`` nodes of each kind (minReplicas or maxReplicas)."""
    total = {"CPU": 0, "GPU": 0}
    for group in cluster["workerGroupSpecs"]:
        (container,) = group["template"]["spec"]["containers"]
        limits = container["resources"]["limits"]
        total["CPU"] += group[count] * int(group["rayStartParams"].get("num-cpus", limits["cpu"]))
        total["GPU"] += group[count] * limits.get("nvidia.com/gpu", 0)
    return total


def recipe_of(job: Manifest) -> Preprocess:
    *_, (command, *args) = commands(job)
    options = importlib.import_module(f"infra.commands.{command}").read(args)
    assert isinstance(options.recipe, Preprocess)
    return options.recipe


def test_preprocessing_uses_all_the_nodes_that_it_may_have() -> None:
    job = AWS["RayJob", "motif-preprocess"]
    recipe = recipe_of(job)
    begin, most = (nodes(cluster_of(job), count) for count in ("minReplicas", "maxReplicas"))
    layout = lay_out(recipe.resources, recipe.shape, 1_000_000, 64, begin)  # on the nodes of the beginning
    assert layout.gpu
    assert (layout.featurizers, layout.decoders) == (most["GPU"], most["CPU"])
    assert layout.actor["num_cpus"] == 0  # so that it runs on a node whose cores Ray does not see


@pytest.mark.parametrize("name", [("RayCluster", "motif"), ("RayJob", "motif-preprocess")])
def test_decoding_stays_off_the_nodes_with_gpus(name: tuple[str, str]) -> None:
    for group in cluster_of(AWS[name])["workerGroupSpecs"]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert ("nvidia.com/gpu" in limits) == (group["rayStartParams"].get("num-cpus") == "0")


def test_training_has_a_gpu_for_each_worker_from_the_start() -> None:
    job = AWS["RayJob", "motif-train"]
    *_, (_, *args) = commands(job)
    hardware = importlib.import_module("infra.commands.train").read(args).recipe.hardware
    assert nodes(cluster_of(job), "minReplicas")["GPU"] == hardware.workers == 8


def served(manifest: Manifest) -> tuple[dict[str, Any], Config]:
    file = yaml.safe_load(manifest["spec"]["serveConfigV2"])
    ServeDeploySchema.model_validate(file)
    (application,) = file["applications"]
    return application, read_config(application["args"])


def test_the_server_has_keys_and_room() -> None:
    service = AWS["RayService", "motif-server"]
    application, config = served(service)
    assert application["import_path"] == "serving.deploy.app:build"
    for group in groups(cluster_of(service)):  # Ray Serve builds the application on any node
        spec = group["template"]["spec"]
        (mount,) = spec["containers"][0]["volumeMounts"]
        ((item,),) = [volume["secret"]["items"] for volume in spec["volumes"] if volume["name"] == mount["name"]]
        assert Path(mount["mountPath"]) / item["path"] == Path(config.keys)
    begin, most = (nodes(cluster_of(service), count) for count in ("minReplicas", "maxReplicas"))
    size, (api,) = config.replicas, application["deployments"]
    assert size.most_workers * size.gpus == most["GPU"]
    assert size.workers * size.cpus + size.api * api["ray_actor_options"]["num_cpus"] <= begin["CPU"]


def test_a_worker_of_the_server_may_finish_its_videos() -> None:
    service = AWS["RayService", "motif-server"]
    (workers,) = cluster_of(service)["workerGroupSpecs"]
    assert workers["template"]["spec"]["terminationGracePeriodSeconds"] > served(service)[1].replicas.drain_seconds
