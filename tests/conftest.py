"""Fixtures for all tests; shapes in annotations are checked while tests run."""

import os
import shutil

# Before torch is loaded, and for every process that a test starts: threads of a network that wait for each other by
# spinning for long take the cores from the process beside, so that both are many times slower.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch  # before anything of ours, so that its types are checked (base.torch_types)
from jaxtyping import install_import_hook

import tests.typecheck  # noqa: F401 - the hook below finds it by its name

# Before anything of ours is imported: jaxtyping then checks every annotated shape with beartype.
_HOOK = install_import_hook(
    ["base", "media", "diffusion", "models", "dataset", "pipeline", "training", "serving", "evaluation"],
    "tests.typecheck.checked",
)

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

# The same examples in every run, so that a failure is one of the change. MOTIF_RANDOM_EXAMPLES=1 draws others.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("random", deadline=None)
settings.load_profile("random" if os.environ.get("MOTIF_RANDOM_EXAMPLES") else "same")

if TYPE_CHECKING:
    from pipeline.recipes import Preprocess
    from pipeline.run.accounting import Account

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """GPU tests say why they do not run here; small tensors are not worth a second thread.

    Under `make test` the tests of a group run in the same process: those on the shared Ray cluster, so that there is
    one, and those of each file, so that they share its fixtures.
    """
    torch.set_num_threads(1)
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))  # a process of Ray's takes half a minute on a busy machine
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
        if not item.get_closest_marker("xdist_group"):
            on_ray = "ray_cluster" in getattr(item, "fixturenames", ())
            item.add_marker(pytest.mark.xdist_group("ray" if on_ray else item.nodeid.partition("::")[0]))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium that calls nobody by itself. Not for a whole session: while it is open, asyncio is its own."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium; .ci/run installs it")
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=flags)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def real_clips() -> Path:
    """A few real videos of other projects, which are not part of this repository."""
    folder = SHARED / "clips"
    if not folder.is_dir():
        pytest.skip(f"{folder} with real videos is not there")
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's caches out of the tests, and the tests off the network."""
    os.environ["MOTIF_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def sprites_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen moving-sprites clips of eight scenes, 256 x 256, as `motif sprites` writes them."""
    from pipeline.sprites.files import write_sprites
    from pipeline.sprites.world import World

    folder = tmp_path_factory.mktemp("sprites")
    write_sprites(folder, World(), 16, seed=7)
    return folder


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """An S3 server on loopback, with its credentials in the environment."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    settings = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    yield endpoint
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    server.stop()


@pytest.fixture
def bucket(s3_endpoint: str, request: pytest.FixtureRequest) -> str:
    """A fresh bucket, as an s3:// URI."""
    import boto3

    name = f"b{abs(hash(request.node.nodeid)):x}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture(scope="session")
def ray_cluster(s3_endpoint: str) -> Iterator[None]:
    """One Ray cluster for the whole test run; its workers know the S3 server from their environment."""
    import ray

    from base import ray_session
    from serving.http.proxy import CALLBACK

    os.environ.update(CALLBACK)
    for last in (False, True):
        try:
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
            break
        except Exception as error:  # a busy machine may take longer than the half minute that Ray allows itself
            ray.shutdown()
            if last or "timed out during startup" not in str(error):
                raise
    ray_session.connect()
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def tiny_vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with an autoencoder of the base model's layout, tiny, random weights."""
    import torch
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=0.18215,
    ).save_pretrained(folder / "vae")
    return folder


@pytest.fixture(scope="session")
def preprocess_on_ray(ray_cluster: None) -> "Callable[..., Account]":
    """Run a preprocessing job on the test cluster."""
    from base.storage.folder import Folder
    from pipeline.run.job import Job
    from pipeline.run.run import Run
    from tests.pipeline.conftest import SMALL

    def run(manifest: Path | str, dataset: Path | str, recipe: "Preprocess" = SMALL, **more: Any) -> "Account":
        return Run(Job(recipe, str(manifest), Folder(str(dataset)), **more), lambda line: None).execute()

    return run


@pytest.fixture(scope="session")
def preprocess() -> "Callable[..., Account]":
    """Run a preprocessing job in this process: the graph's own tasks, in a second instead of half a minute."""
    from base.storage.folder import Folder
    from pipeline.graph.tasks import end_video_worker
    from pipeline.run.job import Job
    from pipeline.run.run import Run
    from tests.pipeline.conftest import SMALL
    from tests.pipeline.in_process import InProcess

    def run(manifest: Path | str, dataset: Path | str, recipe: "Preprocess" = SMALL, **more: Any) -> "Account":
        try:
            job = Job(recipe, str(manifest), Folder(str(dataset)), **more)
            return Run(job, lambda line: None, InProcess()).execute()
        finally:
            end_video_worker()

    return run


@pytest.fixture(scope="session")
def sprites_dataset(
    preprocess: "Callable[..., Account]", sprites_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The sixteen sprites as a dataset; not to be written to."""
    dataset = tmp_path_factory.mktemp("dataset") / "sprites"
    account = preprocess(sprites_folder / "manifest.csv", dataset)
    assert account.complete
    return dataset
