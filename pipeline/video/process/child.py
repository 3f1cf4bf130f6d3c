"""The child process that opens videos: one request per line on stdin, one answer per line on a pipe.

Run as ``python -m pipeline.video.process.child ANSWER_FD MEMORY_MB``. Frames are written to a shared memory file
whose descriptor comes with the request, so no pixels pass through the pipe. It does not import torch or Ray, so that a
new child starts in a fraction of a second.
"""

import base64
import json
import mmap
import os
import resource
import shutil
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np

from base.errors import StorageError
from base.processes.parent import die_with_parent
from base.storage.errors import explained
from base.storage.uri import is_remote, local_path, split
from pipeline.manifest.members import parse_member
from pipeline.video.decoders import Request, decode
from pipeline.video.errors import VideoError
from pipeline.video.probe import probe
from pipeline.video.process.member_file import MemberFile
from pipeline.video.process.unchanged import ContentCheck
from pipeline.video.sampling import Span

READY = "ready"


def main(answer_fd: int, memory_mb: int) -> None:
    """Serve requests until the input ends."""
    die_with_parent()
    limit = memory_mb * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source = Source()
    with os.fdopen(answer_fd, "w", buffering=1) as answers:
        print(READY, file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(_answer(json.loads(line), source)), file=answers, flush=True)


class Source:
    """The file of the last request, downloaded once for all clips of a video."""

    def __init__(self) -> None:
        self.uri = ""
        self.path = Path()
        self.copy: IO[bytes] | None = None
        self.member = MemberFile()
        self.check = ContentCheck()

    def bring(self, uri: str, content: str | None = None) -> Path:
        """A local path with the bytes of ``uri``; a cached object whose content differs is downloaded again."""
        again = self.uri == uri
        path = self._bring(uri)
        if again and content is not None and not self.check.holds(path, content):
            self.uri = ""
            return self._bring(uri)
        return path

    def _bring(self, uri: str) -> Path:
        if (member := parse_member(uri)) is not None:
            return self.member.bring(member)
        if not is_remote(uri):
            path = local_path(uri)
            if not path.is_file():
                raise VideoError("MissingFile", "there is no such file")
            return path
        if uri != self.uri:
            self.uri = ""
            if self.copy is not None:
                self.copy.close()
            # An unnamed file, which disappears even when this process is killed.
            self.copy = tempfile.TemporaryFile()  # noqa: SIM115 - its path is read until the next video
            fs, remote = split(uri)
            try:
                with explained(uri), fs.open_input_stream(remote) as stream:
                    shutil.copyfileobj(stream, self.copy, 1 << 22)
                    self.copy.flush()
            except FileNotFoundError as error:
                raise VideoError("MissingFile", "there is no such object") from error
            self.path = Path(f"/proc/self/fd/{self.copy.fileno()}")
            self.uri = uri
        return self.path


@lru_cache(maxsize=1)
def _frames_memory(descriptor: int, size: int) -> mmap.mmap:
    return mmap.mmap(descriptor, size)


def _answer(request: dict[str, Any], source: Source) -> dict[str, Any]:
    try:
        content = request.get("content")
        path = source.bring(request["uri"], content)
        if request["op"] == "probe":
            facts = probe(path)
            times = facts.times and base64.b64encode(facts.times).decode()
            return {"ok": asdict(facts) | {"times": times}}
        wanted = Request(path, Span(**request["span"]), **request["wanted"])
        size = wanted.count * wanted.height * wanted.width * 3
        out = np.frombuffer(_frames_memory(request["frames_fd"], size), np.uint8)
        out = out.reshape(wanted.count, wanted.height, wanted.width, 3)
        with source.check.held(path, content) if content else nullcontext():
            return {"ok": decode(wanted, tuple(request["decoders"]), out)}
    except VideoError as error:
        return {"kind": error.kind, "message": error.message}
    except StorageError as error:
        return {"storage": str(error)}
    except MemoryError:
        return {"kind": "OutOfMemory", "message": "decoding needs more than the memory limit"}
    except Exception as error:  # noqa: BLE001 - any error becomes a reason in the rejects table
        return {"kind": type(error).__name__, "message": str(error)[:500]}


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
