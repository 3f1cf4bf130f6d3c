"""Two nodes of one core each, against one node of two cores: the demo's dataset by `motif preprocess` on a cluster.

    python -m benchmarks.nodes [--clips 64] [--rounds 3] [--save]

Each layout is a cluster whose head has no cores. The command joins it, so blocks of pixels travel between the nodes'
object stores where a clip is not featurized on the node that decoded it. Seconds are the run's own, from its first line
to its account; starting the cluster is apart.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.graph import bytes_of
from benchmarks.report import alternate, arguments, report
from pipeline.sprites.files import write_sprites
from pipeline.sprites.world import World

LAYOUTS = {"one node": (2,), "two nodes": (1, 1)}
_STORE_BYTES = 512 << 20


@contextlib.contextmanager
def cluster(cores: Sequence[int]) -> Iterator[str]:
    """A head without cores and a node for each number of ``cores``; yields its address."""
    from ray.cluster_utils import Cluster

    size = {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
    nodes = Cluster(initialize_head=True, head_node_args=size | {"num_cpus": 0})
    try:
        for count in cores:
            nodes.add_node(num_cpus=count, object_store_memory=_STORE_BYTES)
        nodes.wait_for_nodes()
        yield nodes.address
    finally:
        nodes.shutdown()


def run_seconds(manifest: Path, out: Path, cores: Sequence[int]) -> float:
    """Make the dataset on a cluster of these nodes, in a new folder in ``out``; returns the run's seconds."""
    folder = Path(tempfile.mkdtemp(dir=out))
    motif = str(Path(sys.executable).with_name("motif"))
    with cluster(cores) as address:
        command = [motif, "preprocess", "sprites", "--manifest", str(manifest), "--out", str(folder / "dataset")]
        environment = os.environ | {"RAY_ADDRESS": address}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds = float(json.loads(done.stdout)["seconds"])
    print(f"{cores} {seconds:6.1f} s", flush=True)
    return seconds


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--clips", type=int, default=64, help="as many as the demo has, by default")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        manifest = write_sprites(root / "sprites", World(), options.clips, seed=0)
        places = {name: root / name.replace(" ", "-") for name in LAYOUTS}
        for place in places.values():
            place.mkdir()
        runs = {name: partial(run_seconds, manifest, places[name], cores) for name, cores in LAYOUTS.items()}
        seconds = alternate(runs, options.rounds)
        made = [bytes_of(dataset) for place in places.values() for dataset in sorted(place.glob("*/dataset"))]
    ratio = seconds["one node"] / seconds["two nodes"]
    figures = {"clips": options.clips, "rounds": options.rounds, "speed_of_two_nodes": round(ratio, 3)}
    figures["seconds"] = {name: round(value, 1) for name, value in seconds.items()}
    same = all(parts == made[0] for parts in made)
    report("nodes", figures, {">= 0.9 of one node's speed": ratio >= 0.9, "the same bytes": same})


if __name__ == "__main__":
    main()
