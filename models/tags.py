"""The words in a video's file that say what made it, wherever it is made."""

from dataclasses import asdict

from diffusion.options import Sampling
from models.generator import Request


def model_tags(model: str, revision: str, sampling: Sampling) -> dict[str, str]:
    """Metadata of every video that a model makes with the same sampling."""
    chosen = {name: str(value) for name, value in asdict(sampling).items() if value is not None}
    if sampling.solver == Sampling.solver:
        del chosen["solver"]  # as in videos of before there was a choice
    return {"software": "motif", "model": model, "revision": revision} | chosen


def request_tags(request: Request, fps: float) -> dict[str, str]:
    """Metadata of one video; ``fps`` is its frame rate, of which a request need not speak."""
    tags = {"prompt": request.prompt, "negative_prompt": request.negative, "seed": str(request.seed)}
    return tags | {"fps": f"{fps:g}"}
