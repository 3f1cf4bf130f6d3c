"""The command line as a user meets it: in a process of its own where that matters, else through its entry point."""

import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from infra import cli
from tests.infra.conftest import Motif


def one_line(error: str) -> bool:
    return error.startswith("motif: ") and len(error.strip().splitlines()) == 1 and "Traceback" not in error


def test_help_names_every_command(motif: Motif) -> None:
    status, out, _ = motif("--help")
    assert status == 0
    for name in cli.COMMANDS:
        assert f"  {name} " in out
        assert motif(name, "--help")[0] == 0


def test_help_loads_no_network_library_and_no_ray() -> None:
    """They take seconds."""
    modules = [cli.module_of(name) for name in cli.COMMANDS]
    slow = {"torch", "ray", "pandas", "diffusers", "scipy", "matplotlib"}
    code = f"import sys, {', '.join(modules)}; print(*{slow} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")


def test_the_version(motif: Motif) -> None:
    assert motif("--version")[:2] == (0, "motif 0.1.0\n")


def test_the_installed_script_answers() -> None:
    done = subprocess.run([Path(sys.executable).parent / "motif", "preproces"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "motif: unknown command 'preproces'. Did you mean preprocess?\n"


@pytest.mark.parametrize(
    ("own", "then"),
    [
        ({}, "10000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, None),  # which the limit would override
    ],
)
def test_threads_that_wait_leave_the_cores_to_others(
    own: dict[str, str], then: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the user has decided otherwise, for every process that a command starts."""
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, own.get(name, ""))
        if name not in own:
            monkeypatch.delenv(name)
    monkeypatch.setattr("sys.argv", ["motif", "--version"])
    with pytest.raises(SystemExit):
        cli.main()
    assert os.environ.get("GOMP_SPINCOUNT") == then


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["preprocess", "sprits", "--manifest", "m.csv", "--out", "d"], "Did you mean sprites?"),
        (["preprocess", "--manifest", "m.csv"], "the recipe comes first"),
        (["preprocess", "sprites", "--manifest", "no.csv", "--out", "d"], "no.csv': there is no such file or folder"),
        (
            ["preprocess", "sprites", "--manifest", "m.csv", "--out", "d", "--height", "250"],
            "height 250: must be a multiple of 8",
        ),
        (["preprocess", "sprites", "--manifest", "~nobody.csv", "--out", "d"], "there is no such file or folder"),
        (
            ["preprocess", "sprites", "--manifest", "m.csv", "--out", "d", "--limit", "0"],
            "--limit 0: must be at least 1",
        ),
        (["preprocess", "--config", "no.json", "--manifest", "m.csv", "--out", "d"], "no.json cannot be read"),
        (["preprocess", "motif", "--manifest", "m.csv", "--out", "d"], "`motif fetch videocrafter2 --out"),
        (["retry"], "DATASET is missing"),
        (["retry", "nowhere"], "nowhere is not a dataset"),
        (["inspect", "nowhere"], "nowhere is not a dataset"),
        (["calibrate", "nowhere"], "nowhere is not a dataset"),
        (["dataset", "stats", "nowhere"], "nowhere is not a dataset"),
        (["dataset", "frobnicate"], "choose from stats, explain"),
        (["dataset", "merge", "one", "--out", "two"], "at least two datasets"),
        (["sprites", "--out", "s", "--num", "0"], "--num 0"),
        (["demo", "--num", "0"], "--num 0"),
    ],
)
def test_a_mistake_gets_one_line_and_status_2(
    motif: Motif, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.csv").write_text("video,caption\na.mp4,hello\n")
    status, _, error = motif(*args)
    assert status == 2
    assert one_line(error), error
    assert said.lower() in error.lower()
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--store.clips-a-part", "0", "clips_a_part 0: must be a multiple of clips_a_row_group"),
        ("--store.clips-a-part", "-16", "clips_a_part -16: must be a multiple of clips_a_row_group"),
        ("--store.clips-a-row-group", "0", "clips_a_row_group 0: must be at least 1"),
        ("--decode.decoders", "nope", "decoders 'nope': use pyav, decord or package.module:function"),
        ("--decode.decoders", "mine:", "decoders 'mine:': use pyav, decord or package.module:function"),
    ],
)
def test_a_field_that_breaks_a_rule_gets_a_short_box_before_anything_is_planned(
    motif: Motif, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, value: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.csv").write_text("video,caption\na.mp4,hello\n")
    status, out, error = motif(
        *("preprocess", "sprites", "--manifest", "m.csv", "--out", "d", "--dry-run"), option, value
    )
    assert (status, out) == (2, "")
    assert said in " ".join(error.replace("│", " ").split())
    assert "Traceback" not in error


def test_an_unknown_option_gets_a_hint(motif: Motif) -> None:
    status, out, error = motif("preprocess", "sprites", "--manifest", "m", "--out", "d", "--sampling.max-strid", "2")
    assert status == 2
    assert "--sampling.max-stride" in out + error


class Expired(http.server.BaseHTTPRequestHandler):
    """An S3 server that knows the credentials, but not any longer."""

    def answer(self) -> None:
        said = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
        self.send_response(400)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(said)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815

    def log_message(self, *args: object) -> None:
        pass


@pytest.mark.slow
def test_an_expired_credential(sprites_folder: Path) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Expired)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    aws = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}", "AWS_REGION": "us-east-1"}
    aws |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "old"}
    command = [Path(sys.executable).parent / "motif", "preprocess", "sprites", "--out", "s3://bucket/d"]
    command += ["--manifest", sprites_folder / "manifest.csv"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | aws)
    server.shutdown()
    server.server_close()
    assert done.returncode == 4, done.stderr
    assert done.stderr == (
        "motif: s3://bucket/d/dataset.json: the credentials have expired: renew them (for example `aws sso login`) and "
        "run again.\n"
    )


def test_a_missing_bucket(
    motif: Motif, s3_endpoint: str, sprites_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = sprites_folder / "manifest.csv"
    status, _, error = motif("preprocess", "sprites", "--manifest", manifest, "--out", "s3://no-such-bucket-here/d")
    assert (status, one_line(error)) == (4, True)
    assert "the bucket does not exist" in error
    status, _, error = motif("preprocess", "sprites", "--manifest", "s3://no-such-bucket-here/m.csv", "--out", "d")
    assert (status, one_line(error)) == (4, True)


def test_dry_run_prints_the_recipe_as_json_and_the_plan(motif: Motif, sprites_folder: Path, tmp_path: Path) -> None:
    args = ("--manifest", sprites_folder / "manifest.csv", "--out", tmp_path / "d", "--dry-run")
    status, out, error = motif("preprocess", "sprites", *args, "--sampling.frames", "8")
    assert status == 0
    assert json.loads(out)["sampling"]["frames"] == 8
    assert "probe 16 (new or changed)" in error
    # What was printed is a recipe that can be run.
    config = tmp_path / "recipe.json"
    config.write_text(out)
    status, again, _ = motif("preprocess", "--config", config, *args)
    assert (status, json.loads(again)) == (0, json.loads(out))


def test_doctor_says_what_to_mend(motif: Motif, ray_cluster: None, bucket: str) -> None:
    status, out, _ = motif("doctor", "--json", "--s3", bucket)
    findings = {finding["name"]: finding for finding in json.loads(out)}
    assert status == (2 if any(finding["state"] == "wrong" for finding in findings.values()) else 0)
    for name in ("Python", "torch", "FFmpeg", "decoder pyav", "decoder decord", "memory", "S3", "Ray"):
        assert findings[name]["state"] in ("good", "note"), findings[name]
    assert "a task ran" in findings["Ray"]["found"]
    status, out, _ = motif("doctor", "--s3", "s3://no-such-bucket-here")
    assert status == 2
    assert "the bucket does not exist" in out


def test_output_into_a_closed_pipe_is_no_error() -> None:
    script = Path(sys.executable).parent / "motif"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script} --help | head -n 1"], capture_output=True, text=True, env=os.environ
    )
    assert "Traceback" not in done.stderr
