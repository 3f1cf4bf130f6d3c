"""Facts of a tiny model."""

from diffusion.schedule import Schedule
from models.card import ModelFacts

FACTS = ModelFacts(
    latents={"encoder": "PixelCodec", "cell": 8, "luma": 2, "chroma": 1, "version": 1},
    scaling_factor=1.0,
    text={"encoder": "HashedText", "tokens": 5, "width": 16, "version": 1},
    schedule=Schedule(),
    frames=3,
    height=4,
    width=8,
    fps=(8.0, 12.0),
)
