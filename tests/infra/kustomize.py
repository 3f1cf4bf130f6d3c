"""What `kubectl kustomize` makes of the few features that our overlays use: resources, images, JSON patches."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonpatch
import yaml

Manifest = dict[str, Any]
KNOWN = {"apiVersion", "kind", "resources", "patches", "images"}


def build(folder: Path) -> list[Manifest]:
    """The manifests of a kustomization."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert kustomization.keys() <= KNOWN
    built: list[Manifest] = []
    for name in kustomization["resources"]:
        place = folder / name
        built += build(place) if place.is_dir() else list(yaml.safe_load_all(place.read_text()))
    for patch in kustomization.get("patches", []):
        (place,) = [number for number, made in enumerate(built) if identity(made) == tuple(patch["target"].values())]
        built[place] = jsonpatch.apply_patch(built[place], yaml.safe_load(patch["patch"]))
    for image in kustomization.get("images", []):
        for container in containers(built):
            name, _, tag = container["image"].partition(":")
            container["image"] = f"{image['newName'] if name == image['name'] else name}:{tag}"
    return built


def identity(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def mappings(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a manifest, at any depth."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from mappings(inner)


def pods(value: Any) -> Iterator[dict[str, Any]]:
    """The spec of every pod in manifests, at any depth."""
    return (found for found in mappings(value) if isinstance(found.get("containers"), list))


def containers(value: Any) -> Iterator[dict[str, Any]]:
    return (container for pod in pods(value) for container in pod["containers"])


def commands(job: Manifest) -> Iterator[list[str]]:
    """The command lines of motif in the entry point of a RayJob."""
    shell, option, script = shlex.split(job["spec"]["entrypoint"])
    assert (shell, option) == ("sh", "-c")
    for line in script.split("&&"):
        motif, *args = shlex.split(line)
        assert motif == "motif"
        yield args
