"""Preprocessing under faults: the dataset must end up with the bytes of an undisturbed run, and every run balance."""

import contextlib
import json
import random
import shutil
import subprocess
from pathlib import Path

from pyarrow.fs import copy_files

from base.storage.folder import Folder
from base.storage.uri import split
from pipeline.sprites.files import write_sprites
from pipeline.sprites.world import World
from tests.base.storage.flaky import Flaky
from tests.faults.journey import Outcome, repeat, start
from tests.faults.nodes import Nodes
from tests.faults.plan import Fault
from tests.faults.strike import kill_one
from tests.pipeline.conftest import part_bytes, reject_rows

_MARKS = {"featurizer": "_Featurizer", "decoder": "pipeline.video.process.child", "decode task": "decode_task"}
_SMALL = (
    "--height 128 --width 128 --sampling.frames 8 --store.clips-a-part 4 --store.clips-a-row-group 2 --max-failed 0.2"
)


class Preprocess:
    """Sprites and one broken video to a dataset, on local disk or, if the store is at fault, in an S3 bucket."""

    def __init__(self, place: Path, store: Flaky, bucket: str, clips: int = 48) -> None:
        self.place, self.store, self.bucket = place, store, bucket
        self.manifest = write_sprites(place / "sprites", World(128, 128, 9), clips, seed=3)
        broken = place / "sprites" / "videos" / "000005.mp4"
        broken.write_bytes(broken.read_bytes()[:1000])

    def prepare(self, nodes: Nodes) -> float:
        """See :class:`tests.faults.journey.Journey`."""
        run = self._start("undisturbed", str(self.place / "undisturbed"), nodes)
        out, _ = run.communicate()
        assert run.returncode == 0, (self.place / "undisturbed.log").read_text()
        self.expected = part_bytes(self.place / "undisturbed")
        self.rejects = [row[:8] for row in reject_rows(self.place / "undisturbed")]
        return float(json.loads(out)["seconds"])

    def suffer(self, fault: Fault, nodes: Nodes, moment_s: float) -> Outcome | None:
        """See :class:`tests.faults.journey.Journey`."""
        name = f"{fault.number}-{fault.victim.replace(': ', '-').replace(' ', '-')}"
        remote = fault.victim.startswith("store")
        uri = f"{self.bucket}/{name}" if remote else str(self.place / name)
        draw = random.Random(fault.number)

        def begin() -> "subprocess.Popen[str]":
            self.store.share = 0.0
            return self._start(name, uri, nodes)

        def hit(run: "subprocess.Popen[str]") -> bool:
            if fault.victim == "driver":
                run.kill()
            elif fault.victim == "node":
                nodes.replace(draw)
            elif remote:
                self.store.share, self.store.kind = 0.5, fault.victim.partition(": ")[2]
            else:
                return kill_one(_MARKS[fault.victim], nodes.process.pid, draw)
            return True

        outcome = repeat(begin, hit, moment_s, lambda out: self._judge(name, uri, remote, json.loads(out)))
        self.store.share = 0.0
        if outcome is None or not outcome.wrong:
            self._remove(name, remote)
        return outcome

    def _start(self, name: str, uri: str, nodes: Nodes) -> "subprocess.Popen[str]":
        command = ["preprocess", "sprites", "--manifest", self.manifest, "--out", uri, *_SMALL.split()]
        return start(command, nodes.environment, self.place / f"{name}.log")

    def _judge(self, name: str, uri: str, remote: bool, account: dict[str, int]) -> str:
        """What is wrong with a dataset, or ""."""
        place = self.place / name
        if remote:
            store, path = split(uri)
            copy_files(path, str(place), source_filesystem=store)
        if account["planned"] != account["written"] + account["filtered"] + account["failed"]:
            return f"unbalanced: {account}"
        if part_bytes(place) != self.expected:
            return "other bytes"
        if [row[:8] for row in reject_rows(place)] != self.rejects:
            return "other rejects"
        if "Traceback" in (self.place / f"{name}.log").read_text():
            return "a traceback"
        return ""

    def _remove(self, name: str, remote: bool) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.place / name)
        if remote:
            Folder(f"{self.bucket}/{name}").delete_all()
