"""``motif generate`` against a real server."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

from media.picture import decode_picture, read_image
from media.video_file import encode
from models.misfits import superfluous_image
from serving.generate.models import ServedModel
from serving.settings import Settings, key_hash
from tests.serving.calls import picture
from tests.serving.conftest import both, leveled, settings, tiny, words  # noqa: F401 - fixtures
from tests.serving.scripted import Answer, scripted, video
from tests.serving.server import Server, serve

Motif = Callable[..., tuple[int, str, str]]
KEY = "sixteen characters and more"


@pytest.fixture
def server(tiny: ServedModel, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:  # noqa: F811
    """A server that asks for a key, which the environment has."""
    monkeypatch.setenv("MOTIF_API_KEY", KEY)
    with serve([tiny], replace(settings, key_hashes=(key_hash(KEY),))) as running:
        yield running


@pytest.fixture
def star(tmp_path: Path) -> Path:
    (tmp_path / "star.png").write_bytes(picture())
    return tmp_path / "star.png"


def owned(server: Server) -> list[str]:
    """Ids of the jobs on the server, the newest first."""
    found = server.store.page(key_hash(KEY), None, 100, newest_first=True)
    assert found is not None
    return [job.id for job in found[0]]


def test_one_video(motif: Motif, server: Server, star: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "a.mp4"
    asked = ["--url", server.url, "--image", star, "--prompt", "a star", "--seed", 7, "--steps", 2, "--num-frames", 3]
    status, told, said = motif(
        "generate", *asked, "--fps", 6, "--guidance", 2, "--negative-prompt", "blur", "--out", out
    )
    assert status == 0, said
    (video_id,) = owned(server)
    line = json.loads(told)
    assert line.pop("seconds") > 0
    assert line.pop("inference_s") > 0
    assert line == {"id": video_id, "seed": 7, "out": str(out), "model": "tiny"}
    with av.open(out) as container:
        assert len(list(container.decode(video=0))) == 3
        assert container.metadata["negative_prompt"] == "blur"
    assert "warning: tiny was trained on videos of 4 frames" in said
    assert "seed 7: completed" in said
    assert "\r" not in said
    assert [path.name for path in out.parent.iterdir()] == ["a.mp4"]


def test_of_text_alone(motif: Motif, both: Server, star: Path, tmp_path: Path) -> None:  # noqa: F811
    asked = ["generate", "--url", both.url, "--prompt", "a star", "--out"]
    status, told, said = motif(*asked, tmp_path / "a.mp4", "--seed", 7)
    assert (status, json.loads(told)["model"]) == (0, "words"), said
    for more, why in (
        (["--model", "tiny"], "motif: give --image and --prompt: the first frame, and what should happen."),
        (["--image", star], f"motif: {superfluous_image('words')}"),
    ):
        status, told, said = motif(*asked, tmp_path / "b.mp4", *more)
        assert (status, told, said.strip()) == (2, "", why)


def test_with_a_motion_level(
    motif: Motif,
    tiny: ServedModel,  # noqa: F811
    leveled: ServedModel,  # noqa: F811
    settings: Settings,  # noqa: F811
    star: Path,
    tmp_path: Path,
) -> None:
    with serve([leveled, tiny], settings) as server:
        asked = ["generate", "--url", server.url, "--prompt", "a star", "--image", star, "--motion-level"]
        status, _, said = motif(*asked, 9, "--out", tmp_path / "a.mp4")
        assert status == 0, said
        with av.open(tmp_path / "a.mp4") as container:
            assert container.metadata["motion_level"] == "9"
        for level, model, why in (
            (11, "leveled", "motif: 'motion_level' is \"11\": give a whole number from 1 to 10, or leave it out."),
            (5, "tiny", "motif: tiny takes no motion level: leave it out."),
        ):
            status, told, said = motif(*asked, level, "--model", model, "--out", tmp_path / "b.mp4")
            assert (status, told, said.strip()) == (2, "", why)


def test_several_videos_run_at_once(motif: Motif, server: Server, star: Path, tmp_path: Path) -> None:
    asked = ["--url", server.url, "--image", star, "--prompt", "a star", "--num", 3, "--out", tmp_path / "many"]
    status, told, said = motif("generate", *asked)
    assert status == 0, said
    line = json.loads(told)
    assert (line["out"], line["failed"]) == (str(tmp_path / "many"), 0)
    assert [made["id"] for made in line["videos"]] == owned(server)[::-1]
    first = line["videos"][0]["seed"]
    assert [made["seed"] for made in line["videos"]] == [first, first + 1, first + 2]
    names = [f"{number:04}.mp4" for number in range(3)]
    assert sorted(path.name for path in (tmp_path / "many").iterdir()) == names
    assert "video 3 of 3, seed" in said


def test_nothing_is_overwritten(motif: Motif, server: Server, star: Path, tmp_path: Path) -> None:
    asked = ["generate", "--url", server.url, "--image", star, "--prompt", "a star"]
    (tmp_path / "many").mkdir()
    for there, out, more in (("a.mp4", "a.mp4", ()), ("many/0001.mp4", "many", ("--num", 2))):
        (tmp_path / there).write_bytes(b"mine")
        status, told, said = motif(*asked, "--out", tmp_path / out, *more)
        assert (status, told) == (2, "")
        assert f"{tmp_path / there} exists already and is not overwritten. Give another path." in said
        assert (tmp_path / there).read_bytes() == b"mine"
    assert owned(server) == []


def test_of_a_video_the_first_frame_is_sent(motif: Motif, star: Path, tmp_path: Path) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (32, 64, 3), np.uint8)
    (tmp_path / "a.mp4").write_bytes(encode("a.mp4", np.stack([frame, 255 - frame]), 4.0, {}))
    with scripted(video(), video(), Answer(200, b"mp4")) as script:
        asked = ["--url", script.url, "--image", tmp_path / "a.mp4", "--prompt", "x", "--out", tmp_path / "out.mp4"]
        status, _, said = motif("generate", *asked)
    assert status == 0, said
    body = script.seen[0].body
    png = body[body.index(b"\x89PNG") : body.index(b"IEND") + 8]
    assert (decode_picture(png) == read_image(tmp_path / "a.mp4")).all()
    status, _, said = motif("generate", "--image", __file__, "--prompt", "x", "--out", tmp_path / "b.mp4")
    assert (status, "test_generate_command.py: not a readable picture or video" in said) == (2, True)


def start(server: Server, star: Path, *more: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
    command = [Path(sys.executable).parent / "motif", "generate", "--url", server.url, "--image", star]
    command += ["--prompt", "a star", *more]
    # Where these tests run in the background, Ctrl+C is ignored, and what they start would ignore it, too.
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, preexec_fn=listening)


@pytest.mark.parametrize("num", [1, 3])
def test_ctrl_c_cancels_on_the_server(server: Server, star: Path, tmp_path: Path, num: int) -> None:
    server.hold.set()
    process = start(server, star, "--out", str(tmp_path / "out"), "--num", str(num))
    assert process.stderr is not None
    seen = process.stderr.readline()  # it waits: all jobs are there
    assert "queued" in seen
    assert len(owned(server)) == num
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"motif: interrupted; {num} job{'s' * (num > 1)} cancelled on the server." in said
    assert "Traceback" not in said
    assert owned(server) == []
    assert list((tmp_path / "out").iterdir()) == []


def test_ctrl_c_in_the_middle_of_a_video(server: Server, star: Path, tmp_path: Path) -> None:
    process = start(server, star, "--out", str(tmp_path / "a.mp4"), "--steps", "200")
    assert process.stderr is not None
    while "denoising" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert owned(server) == []
    assert not (tmp_path / "a.mp4").exists()


def test_a_terminal_shows_one_line(server: Server, star: Path, tmp_path: Path) -> None:
    controller, terminal = pty.openpty()
    process = start(server, star, "--out", str(tmp_path / "a.mp4"), "--steps", "60", stderr=terminal)
    os.close(terminal)
    said = b""
    while True:
        try:
            said += os.read(controller, 4096)
        except OSError:  # the other end is closed
            break
    os.close(controller)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert json.loads(told)["out"] == str(tmp_path / "a.mp4")
    lines = said.split(b"\r\x1b[K")
    assert any(b": denoising, " in line for line in lines)
    assert b"\n" not in said
    assert lines[-1] == b""


def test_a_video_that_failed(motif: Motif, star: Path, tmp_path: Path) -> None:
    failed = video(status="failed", error={"code": "out_of_memory", "message": "The GPU is full."})
    with scripted(video(), failed) as script:
        status, told, said = motif(
            "generate", "--url", script.url, "--image", star, "--prompt", "x", "--out", tmp_path / "a.mp4"
        )
    assert (status, told) == (7, "")
    assert said.count("video video_1 failed: The GPU is full.") == 1
    answers = [
        video(id="a"),
        video(id="b", seed=8),
        video(id="a", status="failed", error={}),
        video(id="b"),
        Answer(200, b"mp4"),
    ]
    with scripted(*answers) as script:
        asked = ["--url", script.url, "--image", star, "--prompt", "x", "--out", tmp_path / "some", "--num", 2]
        status, told, said = motif("generate", *asked)
    assert status == 7
    line = json.loads(told)
    assert ([made["id"] for made in line["videos"]], line["failed"]) == (["b"], 1)
    assert (tmp_path / "some" / "0001.mp4").read_bytes() == b"mp4"


def test_a_connection_that_is_lost_names_what_is_left(motif: Motif, star: Path, tmp_path: Path) -> None:
    with scripted(video(status="queued"), *[Answer(lost=True)] * 4) as script:
        asked = ["--url", script.url, "--image", star, "--prompt", "x", "--out", tmp_path / "a.mp4"]
        status, told, said = motif("generate", *asked)
    assert (status, told) == (7, "")
    assert "not downloaded, still on the server: video_1" in said
    assert f"motif: {script.url} cannot be reached" in said
    assert "Trying again in 0.2 s." in said


def test_what_the_server_refuses(motif: Motif, server: Server, star: Path, tmp_path: Path) -> None:
    asked = ["generate", "--url", server.url, "--image", star, "--prompt", "a star", "--out", tmp_path / "a.mp4"]
    for more, told in (
        (["--steps", 1000], "num_inference_steps"),
        (["--model", "other"], "other"),
        (["--key", "wrong"], "The API key is unknown"),
    ):
        status, out, said = motif(*asked, *more)
        assert (status, out) == (2, "")
        assert told in said
        assert len(said.splitlines()) == 1
    assert owned(server) == []


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ([], "give --image and --prompt"),
        (["--image", "star.png"], "give --image and --prompt"),
        (["--image", "star.png", "--prompt", "x"], "give an .mp4 file or a folder"),
        (["--image", "star.png", "--prompt", "x", "--out", "s3://bucket/a.mp4"], "on this machine"),
        (["--image", "star.png", "--prompt", "x", "--out", "{}/a.mp4", "--num", "0"], "--num 0: must be at least 1"),
        (["--image", "star.png", "--prompt", "x", "--out", "{}/a.mp4", "--num", "2"], "give a folder"),
        (["--image", "none.png", "--prompt", "x", "--out", "{}/a.mp4"], "image none.png: there is no such file"),
        (["--image", "star.png", "--prompt", "x", "--out", "{}/a.mp4", "--url", "here"], "url 'here'"),
    ],
)
def test_wrong_options_are_told_in_one_sentence(motif: Motif, tmp_path: Path, more: list[str], told: str) -> None:
    status, out, said = motif("generate", *(part.format(tmp_path) for part in more))
    assert (status, out) == (2, "")
    assert told in said
    assert "Traceback" not in said


def test_a_folder_that_cannot_be_made(motif: Motif, star: Path) -> None:
    status, _, said = motif("generate", "--image", star, "--prompt", "x", "--out", star / "a.mp4")
    assert status == 4
    assert "its folder cannot be created: File exists" in said or "Not a directory" in said
