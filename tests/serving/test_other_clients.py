"""Clients of the video API that others wrote, as they are: litellm, and the openai package of npm."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.calls import png
from tests.serving.server import Server

pytestmark = pytest.mark.slow
NPM_VERSION = "6.49.0"
LITELLM = """
import json, sys, time
import litellm
url, picture, out = sys.argv[1:]
server = {"api_base": url, "api_key": "none", "custom_llm_provider": "openai"}
video = litellm.video_generation(
    model="openai/tiny", prompt="a star", input_reference=open(picture, "rb"), user="somebody", **server
)
while video.status in ("queued", "in_progress"):
    time.sleep(0.2)
    video = litellm.video_status(video_id=video.id, **server)
with open(out, "wb") as file:
    file.write(litellm.video_content(video_id=video.id, **server))
print(json.dumps({"status": video.status, "progress": video.progress}))
"""
NODE = """
import fs from "node:fs";
import OpenAI, { toFile } from "openai";
const [url, picture, out] = process.argv.slice(2);
const client = new OpenAI({ baseURL: url, apiKey: "none", maxRetries: 0 });
const file = await toFile(fs.readFileSync(picture), "star.png", { type: "image/png" });
const asked = { model: "tiny", prompt: "a star", input_reference: file, size: "64x32", seconds: "1", user: "somebody" };
const video = await client.videos.createAndPoll?.(asked) ?? await poll(await client.videos.create(asked));
async function poll(video) {
  while (["queued", "in_progress"].includes(video.status)) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    video = await client.videos.retrieve(video.id);
  }
  return video;
}
const content = await client.videos.downloadContent(video.id);
fs.writeFileSync(out, Buffer.from(await content.arrayBuffer()));
const edits = await client.post("/videos/edits", { body: { prompt: "a" } }).catch((error) => error.code);
console.log(JSON.stringify({ status: video.status, seconds: video.seconds, edits }));
"""


@pytest.fixture
def star(tmp_path: Path) -> Path:
    (tmp_path / "star.png").write_bytes(png())
    return tmp_path / "star.png"


def run(command: list[str], folder: Path, **more: str) -> dict[str, object]:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=240, env=os.environ | more, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (folder / "out.mp4").read_bytes()[4:8] == b"ftyp"
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_litellm(server: Server, star: Path) -> None:
    """In a process of its own: it warns, and asks for a list of prices when it is imported."""
    pytest.importorskip("litellm")
    told = run(
        [sys.executable, "-c", LITELLM, f"{server.url}/v1", str(star), "out.mp4"],
        star.parent,
        LITELLM_LOCAL_MODEL_COST_MAP="True",
    )
    assert told == {"status": "completed", "progress": 100}


def test_npm_openai(server: Server, star: Path) -> None:
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("there is no node or npm")
    (star.parent / "package.json").write_text('{"type": "module", "private": true}')
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", f"openai@{NPM_VERSION}"]
    done = subprocess.run(install, cwd=star.parent, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install openai@{NPM_VERSION}: {done.stderr.strip().splitlines()[-1:]}")
    (star.parent / "run.js").write_text(NODE)
    told = run(["node", "run.js", f"{server.url}/v1", str(star), "out.mp4"], star.parent)
    assert told == {"status": "completed", "seconds": "1", "edits": "unsupported_endpoint"}
