"""Try faults and print what came of each; the exit status is 1 if any lost or doubled anything."""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer

from tests.base.storage.flaky import Flaky, flaky_proxy
from tests.faults.journey import Journey
from tests.faults.nodes import Nodes, start_nodes
from tests.faults.plan import VICTIMS, Fault, draw_faults

_BUCKET = "s3://faults"
_EARLIER = 0.5
"""What a moment is multiplied with where the journey ended before the fault came."""


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--journeys", nargs="+", choices=VICTIMS, default=list(VICTIMS))
    parser.add_argument("--list", action="store_true", help="print the faults and try none")
    given = parser.parse_args()
    faults = draw_faults(given.seed, given.count, tuple(given.journeys))
    if given.list:
        print(*faults, sep="\n")
        return 0
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, _store() as store, start_nodes(2, store[1]) as nodes:
        for name in given.journeys:
            place = Path(folder) / name
            place.mkdir()
            wrong += _try(name, [fault for fault in faults if fault.journey == name], nodes, place, store[0])
    print(json.dumps({"seed": given.seed, "faults": given.count, "journeys": given.journeys, "wrong": wrong}))
    return 1 if wrong else 0


def _try(name: str, faults: list[Fault], nodes: Nodes, place: Path, store: Flaky) -> int:
    """Try a journey's faults; returns how many it did not survive."""
    journey = _open(name, place, store)
    seconds = journey.prepare(nodes)
    print(f"{name}: {seconds:.0f} s without a fault", flush=True)
    wrong = 0
    for fault in faults:
        began, moment_s, outcome = time.monotonic(), fault.moment * seconds, None
        while outcome is None:
            outcome = journey.suffer(fault, nodes, moment_s)
            moment_s *= _EARLIER
        wrong += bool(outcome.wrong)
        runs = "1 run" if outcome.runs == 1 else f"{outcome.runs} runs"
        line = f"{fault}  hit at {outcome.hit_s:5.1f} s  {runs}  {time.monotonic() - began:5.0f} s in all"
        print(f"{line}  {outcome.wrong or 'nothing lost or doubled'}", flush=True)
    return wrong


def _open(name: str, place: Path, store: Flaky) -> Journey:
    if name == "preprocess":
        from tests.faults.preprocess import Preprocess

        return Preprocess(place, store, _BUCKET)
    if name == "train":
        from tests.faults.train import Training

        return Training(place)
    from tests.faults.serve import Serving
    from tests.serving.conftest import save_tiny

    return Serving(place, save_tiny(place / "tiny"))


@contextlib.contextmanager
def _store() -> Iterator[tuple[Flaky, dict[str, str]]]:
    """An S3 server behind a proxy that can be made to fail, and the environment that leads to it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with flaky_proxy(f"http://{host}:{port}", 0.0) as proxy:
        environment = {
            "AWS_ENDPOINT_URL": proxy.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "PYTHONPATH": str(Path.cwd()),
        }
        os.environ.update(environment)
        boto3.client("s3").create_bucket(Bucket=_BUCKET.removeprefix("s3://"))
        yield proxy, environment
    server.stop()


if __name__ == "__main__":
    sys.exit(main())
