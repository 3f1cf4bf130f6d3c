"""Training under faults: every number of every step, and the last weights bit for bit, as without a fault."""

import random
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from base.storage.folder import Folder
from tests.faults.journey import Outcome, repeat, start
from tests.faults.nodes import Nodes
from tests.faults.plan import Fault
from tests.faults.strike import kill_one
from tests.training.datasets import Toy, write_toy
from tests.training.runs import TOY, losses, same, weights
from training.options import Saves
from training.recipes import Train

_RECIPE = "tests.faults.train:two_workers"


class Training:
    """The toy network on a toy dataset, with two workers of Ray Train."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.data = write_toy(Folder(str(place / "toy")), Toy(logvar=True))

    def prepare(self, nodes: Nodes) -> float:
        """See :class:`tests.faults.journey.Journey`."""
        started = time.monotonic()
        run = self._start("undisturbed", nodes)
        run.communicate()
        assert run.returncode == 0, (self.place / "undisturbed.log").read_text()
        return time.monotonic() - started

    def suffer(self, fault: Fault, nodes: Nodes, moment_s: float) -> Outcome | None:
        """See :class:`tests.faults.journey.Journey`."""
        name = f"{fault.number}-{fault.victim}"
        draw = random.Random(fault.number)

        def hit(run: "subprocess.Popen[str]") -> bool:
            if fault.victim == "worker":
                return kill_one("RayTrainWorker", nodes.process.pid, draw)
            if fault.victim == "driver":
                run.kill()
            else:
                nodes.replace(draw)
            return True

        outcome = repeat(lambda: self._start(name, nodes), hit, moment_s, lambda out: self._judge(name))
        if outcome is None:
            shutil.rmtree(self.place / name)
        return outcome

    def _start(self, name: str, nodes: Nodes) -> "subprocess.Popen[str]":
        command = ["train", _RECIPE, "--data", self.data.uri, "--out", self.place / name]
        return start(command, nodes.environment, self.place / f"{name}.log")

    def _judge(self, name: str) -> str:
        """What is wrong with a run, or ""."""
        if losses(self.place / name) != losses(self.place / "undisturbed"):
            return "other losses"
        if not same(weights(self.place / name), weights(self.place / "undisturbed")):
            return "other weights"
        if "Traceback" in (self.place / f"{name}.log").read_text():
            return "a traceback"
        return ""


def two_workers() -> Train:
    """The recipe of these runs."""
    return replace(
        TOY, steps=40, batch=4, saves=Saves(every=5), hardware=replace(TOY.hardware, workers=2, micro_batch=2)
    )
