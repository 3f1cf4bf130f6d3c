"""Decoders for tests, in a module of their own: the decode child imports nothing heavy."""

import os
import signal
import time

import numpy as np

from pipeline.video.decoders import Request, decode_with_pyav


def hangs_on_good1_dies_on_good2(request: Request, out: np.ndarray) -> None:
    """What native decoders do to some files."""
    if request.path.name == "good1.mp4":
        time.sleep(600)
    if request.path.name == "good2.mp4":
        os.kill(os.getpid(), signal.SIGABRT)
    decode_with_pyav(request, out)
