"""Ray clusters of one machine beside the tests' own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HEAD = """
import os, signal, sys
from ray.cluster_utils import Cluster
os.chdir(sys.argv[2])
for last in (False, False, True):
    try:
        head = {"num_cpus": int(sys.argv[1]), "object_store_memory": 200 << 20, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        break
    except Exception as error:  # on a busy machine Ray may take longer than it allows itself
        if last or "timed out" not in str(error):
            raise
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@contextmanager
def cluster_of(cpus: int, place: Path) -> Iterator[dict[str, str]]:
    """A cluster of one machine with so many cores; yields the environment that joins it."""
    place.mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "RAY_"))}
    ray_files = tempfile.mkdtemp(prefix="ray-")  # short, for sockets; others look for clusters in Ray's usual folder
    environment["RAY_TMPDIR"] = ray_files
    process = subprocess.Popen(
        [sys.executable, "-c", _HEAD, str(cpus), str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address, "the cluster did not start"
        yield environment | {"RAY_ADDRESS": address}
        process.stdin.close()
        process.wait(60)
    finally:
        process.stdout.close()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(ray_files, ignore_errors=True)
