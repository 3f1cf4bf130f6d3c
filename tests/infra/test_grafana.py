"""The Grafana boards are well formed, and that of a server names what our server and Ray Serve really tell."""

import importlib.util
import itertools
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.client.client import Client
from serving.client.http import ServerError
from tests.infra.prometheus import BOARDS, ask, metrics_of, panel_queries, prometheus, queries
from tests.serving.calls import picture
from tests.serving.conftest import server, settings, tiny  # noqa: F401 - fixtures
from tests.serving.server import Server

SERVING = BOARDS["motif"]
every_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)


def nested(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nested(inner)


@every_board
def test_panels_have_ids_and_places_of_their_own(board: dict[str, Any]) -> None:
    panels = board["panels"]
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


@every_board
def test_it_knows_no_host_and_no_datasource_of_anybody(board: dict[str, Any]) -> None:
    assert "://" not in json.dumps(board)
    assert "id" not in board
    sources = [found["datasource"] for found in nested(board) if "datasource" in found]
    assert sources
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
    variables = {variable["name"] for variable in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(board))) - {"__rate_interval", "__all"}
    assert used == variables
    for query in queries(board):
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
    of_prometheus = {"job"}
    for metric, labels in metrics_of(SERVING, "motif_").items():
        assert labels - of_prometheus <= told[metric], metric
    for query in queries(SERVING):
        for by, metric in re.findall(r"max by \(([\w, ]+)\) \((?:rate\(|increase\()?(motif_\w+)", query):
            assert set(by.split(", ")) <= told[metric], query


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed (Debian's package)")
def test_prometheus_understands_every_query_and_has_data_for_ours(server: Server, tmp_path: Path) -> None:  # noqa: F811
    asked = panel_queries(SERVING)
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
    for name in metrics_of(SERVING, "ray_serve_"):
        base = re.sub(r"_(total|bucket)$", "", name.removeprefix("ray_"))
        assert f'"{base}"' in source or f'"{base.replace("http", "{protocol_name}")}"' in source, name
