"""The Grafana board names what our server and Ray Serve really tell."""

import importlib.util
import itertools
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.client.client import Client
from serving.client.http import ServerError
from tests.conftest import ROOT
from tests.ports import free_port
from tests.serving.calls import picture
from tests.serving.conftest import server, settings, tiny  # noqa: F401 - fixtures
from tests.serving.server import Server

BOARD = json.loads((ROOT / "infra" / "grafana" / "motif.json").read_text())
_SELECTOR = re.compile(r"(motif_\w+|ray_serve_\w+)(?:\{([^}]*)\})?")


def queries() -> Iterator[str]:
    for panel in BOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (variable["definition"] for variable in BOARD["templating"]["list"] if "definition" in variable)


def named(prefix: str) -> set[str]:
    return {match[1] for query in queries() for match in _SELECTOR.finditer(query) if match[1].startswith(prefix)}


def nested(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nested(inner)


def test_panels_have_ids_and_places_of_their_own() -> None:
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x, y in itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        )
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    for panel in panels:
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["description"]
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0


def test_it_knows_no_host_and_no_datasource_of_anybody() -> None:
    assert "://" not in json.dumps(BOARD)
    assert "id" not in BOARD
    sources = [found["datasource"] for found in nested(BOARD) if "datasource" in found]
    assert sources
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
    variables = {variable["name"] for variable in BOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(BOARD))) - {"__rate_interval", "__all"}
    assert used == variables
    for query in queries():
        assert all(query.count(left) == query.count(right) for left, right in ("()", "[]", "{}"))


def use(running: Server, out: Path) -> None:
    """A video that completes, one that fails and is deleted, a full queue and a request that it refuses."""
    with Client(running.url) as client:
        client.generate("a star", picture(), out, num_inference_steps=1)
        running.hold.set()
        failing = client.create("a star", picture())
        (running.files / failing.id / "picture.png").unlink()
        running.hold.clear()
        assert client.wait(failing.id).status == "failed"
        client.delete(failing.id)
        running.hold.set()
        for _ in range(running.settings.queue):
            client.create("a star", picture())
    with Client(running.url, patience=0) as impatient, pytest.raises(ServerError, match="The queue is full"):
        impatient.create("a star", picture())


def test_the_server_tells_what_the_board_asks(server: Server, tmp_path: Path) -> None:  # noqa: F811
    use(server, tmp_path / "a.mp4")
    text = httpx2.get(f"{server.url}/metrics").text
    told: dict[str, set[str]] = {}
    for sample in (sample for family in text_string_to_metric_families(text) for sample in family.samples):
        told.setdefault(sample.name, set()).update(sample.labels)
    assert named("motif_") <= told.keys()
    of_prometheus = {"job"}
    for query in queries():
        for match in _SELECTOR.finditer(query):
            labels = set(re.findall(r"(\w+)=~?", match[2] or "")) - of_prometheus
            assert not match[1].startswith("motif_") or labels <= told[match[1]], query
    for query in queries():
        for by, metric in re.findall(r"max by \(([\w, ]+)\) \((?:rate\(|increase\()?(motif_\w+)", query):
            assert set(by.split(", ")) <= told[metric], query


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[httpx2.Client]:
    """A Prometheus that scrapes a server twice a second; yields a client of its API."""
    config = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
        "scrape_configs": [{"job_name": "motif", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    address = f"127.0.0.1:{free_port()}"
    options = (f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb")
    command = ["prometheus", *options, f"--web.listen-address={address}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx2.Client(base_url=f"http://{address}", timeout=30) as client:
            yield client
    finally:
        process.terminate()
        process.wait(60)


def ask(client: httpx2.Client, query: str) -> list[Any]:
    """What a panel's query gives; nothing while Prometheus starts."""
    for variable, value in (("job", "motif"), ("model", ".*"), ("window", "5m"), ("__rate_interval", "5m")):
        query = re.sub(rf"\$\b{variable}\b", value, query)
    try:
        found = client.get("/api/v1/query", params={"query": query})
    except httpx2.TransportError:
        return []
    if found.status_code == 503:
        return []
    assert found.status_code == 200, (query, found.text)
    values: list[Any] = found.json()["data"]["result"]
    return values


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed (Debian's package)")
def test_prometheus_understands_every_query_and_has_data_for_ours(server: Server, tmp_path: Path) -> None:  # noqa: F811
    asked = [target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", ())]
    with prometheus(tmp_path, server.url.removeprefix("http://")) as client:
        use(server, tmp_path / "a.mp4")
        deadline = time.monotonic() + 60
        while not all(ask(client, query) for query in asked if "motif_" in query):
            assert time.monotonic() < deadline, [query for query in asked if not ask(client, query)]
            time.sleep(0.2)
        for query in asked:  # those of Ray Serve have no data here, since the server runs without it
            ask(client, query)


def test_ray_has_the_metrics_of_its_own_that_the_board_asks() -> None:
    """Ray writes `ray_` before a metric's name, and `_total` after that of a counter."""
    found = importlib.util.find_spec("ray")
    assert found is not None
    assert found.origin is not None
    source = "".join(path.read_text() for path in (Path(found.origin).parent / "serve" / "_private").glob("*.py"))
    for name in named("ray_serve_"):
        base = re.sub(r"_(total|bucket)$", "", name.removeprefix("ray_"))
        assert f'"{base}"' in source or f'"{base.replace("http", "{protocol_name}")}"' in source, name
