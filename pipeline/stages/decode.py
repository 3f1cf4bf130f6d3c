"""Decode: adds pixels to planned clips. 1:1, about a thousand times the bytes."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.stages.columns import FAILURE, Failure, failure_arrays
from pipeline.video.errors import VideoError
from pipeline.video.geometry import ClipShape
from pipeline.video.process.worker import VideoWorker
from pipeline.video.sampling import Span

FRAMES = "frames"


def clip_bytes(shape: ClipShape) -> int:
    """Bytes of a decoded clip, including one more frame for the last flow."""
    return (shape.frames + 1) * shape.height * shape.width * 3


def decode_rows(
    table: pa.Table, worker: VideoWorker, shape: ClipShape, poison: frozenset[str] = frozenset()
) -> pa.Table:
    """Add ``decoder``, ``frames`` (uint8 RGB ``[frames + 1, h, w, 3]``, null for failed rows), failure and seconds.

    The frame after the last is a copy of the last if the video has no more. ``poison`` has slots of clips that crash
    workers: they fail without being tried.
    """
    size = clip_bytes(shape)
    pixels = np.empty((table.num_rows, shape.frames + 1, shape.height, shape.width, 3), np.uint8)
    done = 0
    decoders: list[str | None] = []
    failures: list[Failure | None] = []
    seconds: list[float] = []
    for row in table.to_pylist():
        started = time.perf_counter()
        decoder, failure = None, None
        if row["slot"] in poison:
            failure = Failure("featurize", "WorkerDied", "computing this clip kills the worker process, twice")
        elif row["slot"] is not None:
            try:
                decoder = decode_clip(row, worker, shape, pixels[done])
                done += 1
            except VideoError as error:
                failure = Failure("decode", error.kind, error.message)
        decoders.append(decoder)
        failures.append(failure)
        seconds.append(time.perf_counter() - started)
    offsets = np.zeros(table.num_rows + 1, np.int64)
    offsets[1:] = np.cumsum([0 if decoder is None else size for decoder in decoders])
    mask = pa.array([decoder is not None for decoder in decoders])
    frames = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(),
        table.num_rows,
        [mask.buffers()[1], pa.py_buffer(offsets), pa.py_buffer(pixels.reshape(-1)[: done * size])],
    )
    added = [
        pa.array(decoders, pa.string()),
        frames,
        *failure_arrays(failures),
        pa.array(seconds, pa.float64()),
    ]
    names = ["decoder", FRAMES, *FAILURE.names, "seconds"]
    return pa.table([*table.columns, *added], names=[*table.column_names, *names])


def decode_clip(row: Mapping[str, Any], worker: VideoWorker, shape: ClipShape, out: np.ndarray) -> str:
    """Fill ``out`` (uint8 RGB ``[frames + 1, h, w, 3]``) with a planned clip; returns the decoder's name.

    Raises VideoError if the video cannot be decoded or has changed since the probe.
    """
    count = shape.frames + bool(row["has_next"])
    wanted = {
        "count": count,
        "fps": row["source_fps"],
        "variable_rate": row["variable_rate"],
        "turns": row["turns"],
        "pixel_aspect": row["pixel_aspect"],
        "height": shape.height,
        "width": shape.width,
        "frames": row["source_frames"],
    }
    decoder, frames = worker.decode(row["uri"], Span(row["first"], row["stride"]), wanted, row["content"])
    out[:count] = frames
    out[count:] = frames[-1]
    return decoder


def read_frames(table: pa.Table, shape: ClipShape) -> np.ndarray:
    """The pixels of decoded rows, ``[n, frames + 1, h, w, 3]``; a view if the rows are in one chunk."""
    column = table.column(FRAMES)
    chunks = [_chunk_frames(chunk, shape) for chunk in column.chunks if len(chunk)]
    if len(chunks) == 1:
        return chunks[0]
    return np.concatenate(chunks) if chunks else np.empty((0, *_frame_shape(shape)), np.uint8)


def _chunk_frames(chunk: pa.LargeBinaryArray, shape: ClipShape) -> np.ndarray:
    offsets = np.frombuffer(chunk.buffers()[1], np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
    count = int(offsets[-1] - offsets[0])
    if count == 0:
        return np.empty((0, *_frame_shape(shape)), np.uint8)
    return np.frombuffer(chunk.buffers()[2], np.uint8, count, int(offsets[0])).reshape(-1, *_frame_shape(shape))


def _frame_shape(shape: ClipShape) -> tuple[int, int, int, int]:
    return (shape.frames + 1, shape.height, shape.width, 3)
