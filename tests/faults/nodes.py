"""Ray nodes on this machine that can be added and killed.

They are children of a process of their own, ``python -m tests.faults.nodes``, which takes commands on stdin, so that no
test process is part of their cluster.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator

_STORE_BYTES = 128 << 20


class Nodes:
    """A cluster with a head that has no cores, so that it runs no work, and nodes that have one core each."""

    def __init__(self, process: "subprocess.Popen[str]", environment: dict[str, str], count: int) -> None:
        self.process = process
        self.environment = environment | {"RAY_ADDRESS": self._answer()}
        """The environment of a command that joins the cluster."""
        for _ in range(count):
            self.add()

    def add(self) -> None:
        """Start a node and wait until it has joined."""
        self._ask("add")

    def replace(self, draw: random.Random) -> None:
        """Kill a worker node with all that runs there, and start another one, as a provider does for spot machines."""
        self._ask(f"kill {draw.randrange(100)}")
        self.add()

    def _ask(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        self._answer()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        answer = self.process.stdout.readline().strip()
        assert answer, "the process of the Ray nodes has ended"
        return answer


@contextlib.contextmanager
def start_nodes(count: int, more: dict[str, str] | None = None) -> Iterator[Nodes]:
    """A cluster of ``count`` nodes beside its head, whose processes have the variables ``more`` too."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "RAY_"))}
    files = tempfile.mkdtemp(prefix="ray-")  # short, for sockets
    environment |= {"RAY_TMPDIR": files} | (more or {})
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.nodes"],
        stdin=pipe,
        stdout=pipe,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        yield Nodes(process, environment, count)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(files, ignore_errors=True)


def main() -> None:
    """Carry out the commands of stdin, each answered by a line; at its end shut down."""
    from ray.cluster_utils import Cluster

    size = {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args=size | {"num_cpus": 0})
    print(cluster.address, flush=True)
    for line in sys.stdin:
        command, *which = line.split()
        if command == "add":
            cluster.add_node(num_cpus=1, object_store_memory=_STORE_BYTES)
            cluster.wait_for_nodes()
        else:
            nodes = sorted(cluster.worker_nodes, key=lambda node: str(node.unique_id))
            cluster.remove_node(nodes[int(which[0]) % len(nodes)], allow_graceful=False)
        print("done", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
