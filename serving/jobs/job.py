"""A job: one requested video, from the request to the file."""

import json
import secrets
from dataclasses import asdict, dataclass, field
from typing import Any

from diffusion.options import Sampling
from serving.video_api import Failure, Stage, Status, Video

ANYONE = ""  # the owner of all jobs on a server without API keys


@dataclass(frozen=True)
class Order:
    """What a job generates, with all defaults filled in.

    ``image``: it begins with a picture, which is among the job's files; all orders of earlier versions do.
    ``motion_level`` is None for models that take none.
    """

    model: str
    prompt: str
    seed: int
    frames: int
    fps: float
    width: int
    height: int
    sampling: Sampling
    negative: str = ""
    warnings: tuple[str, ...] = ()
    image: bool = True
    motion_level: int | None = None

    def shape(self) -> str:
        """A key: jobs of equal shape can be sampled in one batch."""
        size = (self.frames, self.width, self.height)
        return json.dumps([self.model, *size, self.sampling.to_dict(), self.image], sort_keys=True)

    def to_json(self) -> str:
        """As stored in the database."""
        return json.dumps(asdict(self) | {"sampling": self.sampling.to_dict()})

    @classmethod
    def of(cls, text: str) -> "Order":
        """Read the output of :meth:`to_json`."""
        read = json.loads(text)
        options: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in read["sampling"].items()
        }
        return cls(**{**read, "sampling": Sampling(**options), "warnings": tuple(read["warnings"])})


@dataclass(frozen=True)
class Job:
    """A row of the job store. Times are seconds since 1970; ``queue_position`` counts from 0, for queued jobs."""

    id: str
    owner: str
    order: Order
    status: Status
    stage: Stage
    progress: int
    created_at: float
    completed_at: float | None = None
    expires_at: float | None = None
    inference_time_s: float | None = None
    error: tuple[str, str] | None = None
    remixed_from: str | None = None
    queue_position: int | None = None

    @property
    def active(self) -> bool:
        """Whether the job is queued or running."""
        return self.status in ("queued", "in_progress")


@dataclass(frozen=True)
class NewJob:
    """A job before it is in the store. The fingerprint is a hash of the request's whole content."""

    owner: str
    order: Order
    fingerprint: str
    idempotency_key: str | None = None
    remixed_from: str | None = None
    id: str = field(default_factory=lambda: f"video_{secrets.token_hex(16)}")


def video_object(job: Job) -> Video:
    """A job as the API shows it."""
    order = job.order
    return Video(
        id=job.id,
        status=job.status,
        model=order.model,
        progress=job.progress,
        created_at=int(job.created_at),
        completed_at=None if job.completed_at is None else int(job.completed_at),
        expires_at=None if job.expires_at is None else int(job.expires_at),
        prompt=order.prompt,
        size=f"{order.width}x{order.height}",
        seconds=f"{order.frames / order.fps:.4g}",
        remixed_from_video_id=job.remixed_from,
        error=None if job.error is None else Failure(*job.error),
        seed=order.seed,
        queue_position=job.queue_position,
        stage=job.stage,
        inference_time_s=job.inference_time_s,
        warnings=order.warnings,
        num_frames=order.frames,
        fps=order.fps,
        num_inference_steps=order.sampling.steps,
        guidance_scale=order.sampling.guidance,
        negative_prompt=order.negative,
        motion_level=order.motion_level,
    )
