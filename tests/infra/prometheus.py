"""The queries of the Grafana boards, and a real Prometheus to ask them of."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.conftest import ROOT
from tests.ports import free_port

BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "infra" / "grafana").glob("*.json"))}
SELECTOR = re.compile(r"((?:ray_)?motif_\w+|ray_serve_\w+)(?:\{([^}]*)\})?")


def panel_queries(board: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]


def queries(board: dict[str, Any]) -> list[str]:
    """Those of the panels and of the variables."""
    variables = board["templating"]["list"]
    return panel_queries(board) + [variable["definition"] for variable in variables if "definition" in variable]


def metrics_of(board: dict[str, Any], prefix: str) -> dict[str, set[str]]:
    """Each metric whose name begins so, with the labels that the board chooses by."""
    found: dict[str, set[str]] = {}
    for query in queries(board):
        for match in SELECTOR.finditer(query):
            if match[1].startswith(prefix):
                found.setdefault(match[1], set()).update(re.findall(r"(\w+)=~?", match[2] or ""))
    return found


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[httpx2.Client]:
    """A Prometheus that scrapes an address twice a second; yields a client of its API."""
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


def ask(client: httpx2.Client, query: str, **during: float) -> list[Any]:
    """What a panel's query gives, for all values of its variables; nothing while Prometheus starts.

    With ``start``, ``end`` and ``step``, in seconds, what it gave at these times.
    """
    query = re.sub(r"\$(window|__rate_interval)\b", "5m", re.sub(r"\$job\b", "motif", query))
    query = re.sub(r"\$\w+", ".*", query)
    try:
        found = client.get(f"/api/v1/query{'_range' if during else ''}", params={"query": query, **during})
    except httpx2.TransportError:
        return []
    if found.status_code == 503:
        return []
    assert found.status_code == 200, (query, found.text)
    values: list[Any] = found.json()["data"]["result"]
    return values
