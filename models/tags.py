"""Metadata tags of generated video files."""

from diffusion.options import Sampling
from models.generator import Request


def model_tags(model: str, revision: str, sampling: Sampling) -> dict[str, str]:
    """Metadata common to all videos of a model and sampling options."""
    chosen = {name: _text(value) for name, value in sampling.to_dict().items() if value is not None}
    if sampling.solver == Sampling.solver:
        del chosen["solver"]  # as in videos from before there was a choice
    return {"software": "motif", "model": model, "revision": revision} | chosen


def _text(value: object) -> str:
    """An option's value as on the command line."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def request_tags(request: Request, fps: float) -> dict[str, str]:
    """Metadata of one video; ``fps`` is its frame rate, which a request may omit."""
    tags = {"prompt": request.prompt, "negative_prompt": request.negative, "seed": str(request.seed)}
    level = {} if request.motion_level is None else {"motion_level": str(request.motion_level)}
    return tags | {"fps": f"{fps:g}"} | level
