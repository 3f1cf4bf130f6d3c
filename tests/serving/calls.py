"""Requests to a server, and its answers."""

import io
import json
from typing import Any

import httpx2
import numpy as np
from PIL import Image

from diffusion.options import Sampling
from serving.http.api import build_api
from serving.jobs.job import Order
from serving.requests.videos import Videos


def png(seed: int = 0, width: int = 64, height: int = 32) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def create(client: httpx2.Client, **fields: Any) -> dict[str, Any]:
    files = {"input_reference": ("a.png", png(), "image/png")}
    answer = client.post("/v1/videos", data={"prompt": "a", **fields}, files=files)
    assert answer.status_code == 200, answer.text
    assert answer.headers["location"] == f"/v1/videos/{answer.json()['id']}"
    return dict(answer.json())


def events(client: httpx2.Client, video_id: str) -> list[tuple[str, dict[str, Any]]]:
    with client.stream("GET", f"/v1/videos/{video_id}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line and not line.startswith(":")]
    return [(a[7:], json.loads(b[6:])) for a, b in zip(lines[::2], lines[1::2], strict=True)]


def refusal(answer: httpx2.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return answer.status_code, error["code"], error["param"]


ORDER = Order("tiny", "a prompt", 7, 4, 8.0, 64, 32, Sampling(steps=5))


def picture(size: tuple[int, int] = (64, 32)) -> bytes:
    """A PNG file."""
    stream = io.BytesIO()
    Image.radial_gradient("L").resize(size).convert("RGB").save(stream, "PNG")
    return stream.getvalue()


PATIENCE_S = 20.0  # of what does not come at all


def opened(videos: Videos) -> httpx2.AsyncClient:
    """A client in this process; the server runs in the task that asks, as one of Ray Serve's does."""
    transport = httpx2.ASGITransport(build_api(lambda: videos))
    return httpx2.AsyncClient(transport=transport, base_url="http://a", timeout=PATIENCE_S)


async def post(
    client: httpx2.AsyncClient, path: str = "/v1/videos", key: str | None = None, picture: bytes | None = None
) -> httpx2.Response:
    files = {"input_reference": ("a.png", png() if picture is None else picture, "image/png")}
    headers = {} if key is None else {"idempotency-key": key}
    return await client.post(path, data={"prompt": "a"}, files=files, headers=headers)
