"""`motif serve` before it serves: what it makes of its arguments, and what it refuses at once."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
import ray
import yaml
from ray import serve

from base.errors import Incomplete, InputError
from diffusion.options import Sampling, SamplingChanges
from infra.commands import serve as command
from infra.commands.serve import check_port, url_of
from serving.deploy import app
from serving.deploy.app import Api, Running, check_room
from serving.deploy.config import Config, Place, Replicas, read_config
from serving.deploy.resolve import describe_all, resolve
from serving.deploy.setup import only_server, open_store
from serving.generate.models import ServedModel
from serving.jobs.job import NewJob, Order
from serving.settings import Compute, Settings, key_hash
from tests.infra.conftest import Motif
from tests.ports import free_port
from tests.serving.conftest import tiny  # noqa: F401 - a fixture


def resolved(place: str, compute: Compute = Compute(device="cpu"), replicas: Replicas = Replicas(cpus=0)) -> Config:
    return resolve([place], Settings(), compute, replicas, SamplingChanges())[0]


def bind(config: Config, alone: bool = False) -> None:
    app.bind(config, describe_all(config), alone)


@pytest.fixture
def model(tiny: ServedModel, tmp_path: Path) -> Path:  # noqa: F811
    """A model folder whose path has what a name must not have."""
    place = tmp_path / "모델" / "lr=0.1"
    place.parent.mkdir()
    place.symlink_to(tiny.uri)
    return place


def test_names_of_models(model: Path) -> None:
    def named(place: object) -> tuple[str, str]:
        (found,) = resolved(str(place)).models
        return found.name, found.uri

    assert named(model) == ("lr-0.1", str(model))
    assert named(f"fast={model}") == ("fast", str(model))
    odd = model.with_name("모델 1")
    odd.symlink_to(model)
    assert named(odd) == ("1", str(odd))
    nothing = model.with_name("모델")
    nothing.symlink_to(model)
    assert named(nothing) == ("model", str(nothing))


@pytest.mark.parametrize("name", ["모델", "a b", "..", "a" * 65, "a?b"])
def test_names_that_no_route_can_have(model: Path, name: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"model name '{name}': use 1 to 64") + ".* NAME="):
        resolved(f"{name}={model}")
    with pytest.raises(InputError, match="model name 'org/tiny'"):
        read_config({"models": [{"name": "org/tiny", "uri": "/x"}]})


def test_what_a_server_cannot_do_is_a_line_of_the_command(motif: Motif, model: Path) -> None:
    status, _, said = motif("serve", model, model, "--port", free_port())
    progress, message = said.splitlines()
    assert (status, progress) == (2, "importing Ray")
    assert "give one model another name as NAME=MODEL" in message


@pytest.mark.parametrize(("workers", "most"), [(1, 1), (1, 2), (2, 3), (7, 7), (2, 0)])
def test_workers_share_the_cores(model: Path, workers: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    size = resolved(str(model), replicas=Replicas(workers=workers, max_workers=most, cpus=0)).replicas
    most = most or workers
    assert 2 / most - 0.01 < size.cpus <= 2 / most
    check_room(replace(size, workers=most), [{"CPU": 2.0}])


def test_how_many_workers_the_command_starts(motif: Motif, model: Path, tmp_path: Path) -> None:
    status, _, said = motif("serve", model, "--workers", "2", "--write-config", tmp_path / "serve.yaml")
    assert status == 0, said
    config = read_config(yaml.safe_load((tmp_path / "serve.yaml").read_text())["applications"][0]["args"])
    assert (config.replicas.workers, config.replicas.most_workers, config.settings.c2pa_key) == (2, 2, "")
    assert (Replicas().most_workers, Replicas(workers=2, max_workers=3).most_workers) == (1, 3)
    status, _, said = motif("serve", model, "--workers", "3", "--max-workers", "2")
    assert (status, "max_workers 2: must be 0 or at least workers, 3" in said) == (2, True)


def test_a_cluster_reads_its_keys_where_the_application_is_built(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a key of the secret\n")
    config = read_config({"models": [{"name": "a", "uri": "/a"}], "keys": str(tmp_path / "keys")})
    assert config.with_keys().settings.key_hashes == (key_hash("a key of the secret"),)
    with pytest.raises(InputError, match="/none cannot be read"):
        replace(config, keys="/none").with_keys()


def test_workers_that_have_no_room() -> None:
    check_room(Replicas(workers=3, max_workers=3, gpus=1), [{"CPU": 4.0, "GPU": 1.0}, {"CPU": 4.0, "GPU": 2.0}])
    check_room(Replicas(workers=9, max_workers=9, cpus=0), [])
    for size, nodes, said in (
        (Replicas(workers=2, max_workers=2, cpus=2), [{"CPU": 2.0}], "--workers 2: each asks for 2 CPU, and Ray has 2"),
        (Replicas(cpus=4), [{"CPU": 2.0}, {"CPU": 2.0}], r"4 CPU, and Ray has 2 CPU \+ 2 CPU\. Ask for fewer"),
        (Replicas(gpus=1), [{"CPU": 2.0}], "1 CPU and 1 GPU, and Ray has 2 CPU and 0 GPU"),
    ):
        with pytest.raises(InputError, match=said):
            check_room(size, nodes)


@pytest.mark.parametrize(
    ("host", "url"), [("::1", "http://[::1]"), ("::", "http://[::1]"), ("0.0.0.0", "http://127.0.0.1")]
)
def test_addresses(host: str, url: str) -> None:
    family, port = socket.AF_INET6 if ":" in host else socket.AF_INET, free_port()
    try:
        taken = socket.create_server((host, port), family=family)
    except OSError:
        pytest.skip("no IPv6 here")
    with taken, pytest.raises(InputError, match="Address already in use"):
        check_port(host, port)
    check_port(host, port)
    assert url_of(host, port) == f"{url}:{port}"


def test_addresses_that_are_none(motif: Motif, model: Path) -> None:
    with pytest.raises(InputError, match=r"no-such-host\.invalid at this port \((?!Unknown error)[A-Z][a-z ]+"):
        check_port("no-such-host.invalid", 8000)
    status, _, said = motif("serve", model, "--port", "99999")
    assert (status, "port 99999: must be from 1 to 65535" in said) == (2, True)


def test_a_config_file_names_whole_paths(
    motif: Motif, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "open_signer", lambda settings: None)  # whether they can sign is another matter
    args = ("--c2pa-certificates", "chain.pem", "--c2pa-key", "keys/own.pem", "--write-config", "serve.yaml")
    status, _, said = motif("serve", model, *args)
    assert status == 0, said
    told = yaml.safe_load(Path("serve.yaml").read_text())["applications"][0]["args"]["settings"]
    paths = [told[name] for name in ("folder", "c2pa_certificates", "c2pa_key")]
    assert paths == [str(tmp_path / name) for name in ("served", "chain.pem", "keys/own.pem")]


def test_one_server_a_folder(model: Path, tmp_path: Path) -> None:
    """A second is told so before it starts Ray, and its end takes nothing from the first."""
    settings = Settings(folder=str(tmp_path / "served"))
    with only_server(settings):
        for _ in range(2):
            with pytest.raises(InputError, match=r"--folder .*served: another server uses it"):
                Running(Config((Place("m", str(model)),), settings), [], "127.0.0.1", 1).__enter__()
        with only_server(Settings(folder=str(tmp_path / "other"))):
            child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:  # a child that outlives the server does not keep it
        with only_server(settings):
            pass
    finally:
        child.kill()
        child.wait()
    with only_server(Settings(folder="s3://bucket/served", database="sqlite://")):
        pass


def test_a_new_store_removes_nothing_from_an_old_folder(model: Path, tmp_path: Path) -> None:
    settings = Settings(folder=str(tmp_path / "served"))
    config = Config((Place("m", str(model)),), settings)
    old = tmp_path / "served" / "files" / f"video_{32 * 'a'}"
    old.mkdir(parents=True)
    bind(config, alone=True)
    assert old.exists()
    bind(config, alone=True)  # what the store of this folder lost since
    assert not old.exists()
    open_store(settings).close()


ORDER = Order("m", "a prompt", 7, 4, 8.0, 64, 32, Sampling(steps=5))


def test_jobs_of_a_model_that_is_gone_fail_at_the_start(model: Path, tmp_path: Path) -> None:
    settings = Settings(folder=str(tmp_path / "served"))
    store = open_store(settings)
    for name in ("m", "old"):
        store.add(NewJob("", replace(ORDER, model=name), "fingerprint", id=name), 9)
    config = Config((Place("m", str(model)),), settings)
    bind(config)  # others may be at work on this store, with models of their own
    assert store.upkeep.state().queued == 2
    bind(config, alone=True)
    assert store.get("", "m").status == "queued"  # type: ignore[union-attr]
    assert store.get("", "old").error[0] == "model_not_found"  # type: ignore[union-attr,index]
    store.close()


@pytest.fixture
def unready(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A server on a cluster of words: it was there, nothing runs on it, and what is asked of it is done at once."""
    loading = SimpleNamespace(remote=lambda: SimpleNamespace(result=lambda: 0.0))
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}])
    monkeypatch.setattr(serve, "status", lambda: SimpleNamespace(proxies={}, applications={}))
    monkeypatch.setattr(serve, "get_deployment_handle", lambda *_: SimpleNamespace(loading=loading))
    for done in ("start", "run", "delete", "shutdown"):
        monkeypatch.setattr(serve, done, lambda *_, **__: None)
    handler, said = signal.getsignal(signal.SIGINT), list[str]()
    config = Config((Place("m", str(model)),), Settings(folder=str(tmp_path / "served")))
    running = Running(config, describe_all(config), "127.0.0.1", 1, said.append)
    running.said = said  # type: ignore[attr-defined]
    yield running
    signal.signal(signal.SIGINT, handler)


def test_each_phase_is_told_as_it_begins(unready: Running) -> None:
    with unready:
        assert unready.said == ["starting Ray", "starting Serve", "loading m"]  # type: ignore[attr-defined]


def test_ctrl_c_at_the_start_shuts_down_in_peace(unready: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    stops: list[str] = []

    def press(**_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    def stop() -> None:
        press()
        stops.append("whole")

    signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(serve, "start", press)
    monkeypatch.setattr(serve, "shutdown", stop)
    with pytest.raises(KeyboardInterrupt):
        unready.__enter__()
    assert stops == ["whole"]
    signal.raise_signal(signal.SIGINT)  # Ray has callbacks at the end of the process


def test_ray_that_started_in_part_is_shut_down(unready: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: signal.raise_signal(signal.SIGINT))
    shut: list[bool] = []
    monkeypatch.setattr(ray, "shutdown", lambda: shut.append(True))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        unready.__enter__()
    assert shut == [True]


def test_a_server_that_is_interrupted_has_a_sentence_of_its_own(
    motif: Motif, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted:
        def __init__(self, *_: object) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(app, "Running", Interrupted)
    status, out, said = motif("serve", model, "--port", free_port())
    assert (status, out, said) == (130, "", "importing Ray\nmotif: interrupted before it was ready.\n")


def test_what_is_waited_for_is_told_and_a_second_signal_ends_it(unready: Running) -> None:
    store, folder = open_store(unready.config.settings), unready.config.settings.folder
    for number in range(3):
        store.add(NewJob("", replace(ORDER, seed=number), "fingerprint"), 9)
    store.queue.beat("w")
    store.queue.claim("w", 1)
    at_once = threading.Event()
    at_once.set()
    unready.drain(at_once)
    assert store.upkeep.draining()
    assert unready.said == [  # type: ignore[attr-defined]
        "No more jobs are accepted: 1 running job is finished first (at most 60 s, --drain-seconds), "
        f"2 waiting jobs stay in {folder} for the next start; press Ctrl+C again to stop at once."
    ]
    store.upkeep.sweep()
    store.queue.leave("w")
    store.upkeep.start_run("next", alone=True)
    unready.drain(threading.Event())  # nothing runs
    last = unready.said[1]  # type: ignore[attr-defined]
    assert last == f"No more jobs are accepted: 2 waiting jobs stay in {folder} for the next start."
    store.close()


class Workers:
    """Stands for the handle of the workers: each call is one job of a moment."""

    def __init__(self, waiting: int) -> None:
        self.waiting, self.busy, self.most = waiting, 0, 0
        self.work, self.go = self, asyncio.Event()

    async def remote(self) -> int:
        if not self.waiting:
            return 0
        self.waiting, self.busy = self.waiting - 1, self.busy + 1
        self.most = max(self.most, self.busy)
        await self.go.wait()
        self.busy -= 1
        return 1


def test_leftover_jobs_call_for_all_workers() -> None:
    async def run() -> Workers:
        workers = Workers(12)
        plain = next(kind for kind in Api.__mro__ if "wake" in vars(kind))  # what is around it asks for Serve
        api = object.__new__(plain)
        api.workers, api.calls, api.loop = workers, set(), asyncio.get_running_loop()
        api.wake()
        for _ in range(3):  # each sweep
            api.wake(12)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert len(api.calls) == 12
        api.wake()
        await asyncio.sleep(0)
        assert len(api.calls) == 13
        workers.go.set()
        while api.calls:
            await asyncio.sleep(0)
        return workers

    workers = asyncio.run(run())
    assert (workers.most, workers.waiting, workers.busy) == (12, 0, 0)


@pytest.mark.slow
def test_a_port_that_is_taken_after_it_was_checked(ray_cluster: None, model: Path, tmp_path: Path) -> None:
    config = Config((Place("m", str(model)),), Settings(folder=str(tmp_path / "served")))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        running = Running(config, [], "127.0.0.1", taken.getsockname()[1])
        with pytest.raises(Incomplete, match="^Ray Serve did not start: .* Run the command again.$"):
            running.__enter__()


JOINING = """
import sys
from base.errors import InputError
from serving.deploy.app import Running
from serving.deploy.config import Config, Place
from serving.settings import Settings
running = Running(Config((Place("m", "/m"),), Settings(folder=sys.argv[1])), [], "127.0.0.1", 1)
try:
    running.__enter__()
except InputError as error:
    print(running.ours, error)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_others_run_on_the_cluster_stays(ray_cluster: None, model: Path, tmp_path: Path) -> None:
    @serve.deployment(name="other", ray_actor_options={"num_cpus": 0})
    class Other:
        def __call__(self) -> str:
            return "still here"

    port = free_port()
    config = Config((Place("m", str(model)),), Settings(folder=str(tmp_path / "served")))
    models = describe_all(config)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    try:
        serve.run(Other.bind(), name="other", route_prefix="/other")
        with Running(config, models, "127.0.0.1", port) as running:
            assert not running.ours
            assert httpx2.get(f"http://127.0.0.1:{port}/ready", timeout=60).status_code == 200
            elsewhere = replace(config, settings=Settings(folder=str(tmp_path / "b")))
            second = Running(elsewhere, models, "127.0.0.1", port)
            with pytest.raises(InputError, match="already runs an application 'motif'"):
                second.__enter__()
            environment = os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
            third = [sys.executable, "-c", JOINING, str(tmp_path / "c")]
            done = subprocess.run(third, env=environment, capture_output=True, text=True)
            assert done.stdout.startswith("False RAY_ADDRESS: this cluster already runs"), done.stderr
            assert httpx2.get(f"http://127.0.0.1:{port}/ready", timeout=60).status_code == 200
        assert serve.status().applications.keys() == {"other"}
        assert httpx2.get(f"http://127.0.0.1:{port}/other", timeout=60).text == "still here"
    finally:
        serve.shutdown()


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ("infra.commands.serve, serving.deploy.app", ("torch", "diffusers")),
        ("training.run.ray_train", ("diffusers",)),
        ("pipeline.run.run", ("ray", "pandas", "diffusers")),
        ("training.validation.runs", ("diffusers",)),
    ],
)
def test_what_starts_others_loads_no_network_itself(modules: str, heavy: tuple[str, ...]) -> None:
    """It would take longer than all the rest of a start, and stay in memory."""
    code = f"import sys, {modules}; sys.exit(bool(set({heavy}) & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
