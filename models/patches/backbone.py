"""The transformer over patches as the backbone of a recipe."""

from dataclasses import dataclass
from typing import ClassVar

from base.errors import InputError
from models.video_model import Backbone, DataShapes, VideoModel


@dataclass(frozen=True)
class Patches(Backbone):
    """The sizes of a network with random initial weights."""

    name: ClassVar[str] = "patches"
    lora_targets: ClassVar[tuple[str, ...]] = ("qkv", "mixed", "feed.1", "feed.3")
    start: str = ""
    width: int = 96
    depth: int = 4
    heads: int = 4
    patch: int = 2

    def __post_init__(self) -> None:
        """Check the sizes."""
        if min(self.width, self.depth, self.heads, self.patch) < 1 or self.width % (2 * self.heads):
            raise ValueError(
                f"network.width {self.width}, depth {self.depth}, heads {self.heads}, patch {self.patch}: each must be "
                "at least 1, and twice the heads must divide the width"
            )

    def check(self, shapes: DataShapes) -> None:
        """InputError if patches do not divide the latent's grid."""
        height, width = shapes.latent[2:]
        if height % self.patch or width % self.patch:
            raise InputError(f"network.patch {self.patch}: must divide the latent's {height} x {width} cells.")

    def new(self, shapes: DataShapes) -> VideoModel:
        """A network with random weights."""
        from models.patches.transformer import PatchTransformer

        self.check(shapes)
        sizes = {"width": self.width, "depth": self.depth, "heads": self.heads, "patch": self.patch}
        made: VideoModel = PatchTransformer(channels=shapes.latent[0], text_width=shapes.text[1], **sizes)
        return made

    def summary(self) -> str:
        """Its sizes."""
        return f"{self.depth} layers of {self.width}, patches of {self.patch} x {self.patch}"
