"""The process that decodes untrusted pictures: one request per line on stdin, one answer per line on stdout.

Run as ``python -m serving.requests.picture_child MEMORY_MB CPU_S FILE_FD``. The file, in shared memory, holds the
picture file before a request and the pixels after it. The parent replaces a process whose memory has grown; when the
parent dies, stdin ends and so does this process.
"""

import json
import os
import resource
import signal
import sys
import time
from typing import Any

import cv2
import numpy as np

from media.picture import PictureError, decode_picture, fit

READY = "ready"


def main(memory_mb: int, cpu_s: int, file_fd: int) -> None:
    """Answer requests until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the server, which may drain first
    cv2.setNumThreads(1)
    limit = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _report(READY)
    for line in sys.stdin:
        # CPU time, not wall time, so that a busy machine does not reject valid pictures.
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + cpu_s, resource.RLIM_INFINITY))
        _report(json.dumps(_answer(json.loads(line), file_fd)))


def _report(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _answer(request: dict[str, Any], file_fd: int) -> dict[str, Any]:
    try:
        data = os.pread(file_fd, request["size"], 0)
        picture = decode_picture(data, max_pixels=request["max_pixels"])
        frame = np.ascontiguousarray(fit(picture, request["height"], request["width"]))
        os.pwrite(file_fd, frame.data, 0)
        return {"resident": _resident()}
    except PictureError as error:
        return {"code": error.code, "message": str(error), "resident": _resident()}
    except MemoryError:
        return {"memory": True, "resident": _resident()}


def _resident() -> int:
    """Resident memory of this process, in bytes."""
    with open("/proc/self/statm") as stream:  # noqa: PTH123 - a kernel file
        return int(stream.read().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
