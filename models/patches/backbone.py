"""The transformer over patches as the backbone of a recipe."""

from dataclasses import dataclass

from base.errors import InputError
from models.video_model import Backbone, DataShapes, VideoModel


@dataclass(frozen=True)
class Patches(Backbone):
    """The sizes of a network that starts from random weights."""

    start: str = ""
    width: int = 96
    depth: int = 4
    heads: int = 4
    patch: int = 2

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built."""
        if min(self.width, self.depth, self.heads, self.patch) < 1 or self.width % (2 * self.heads):
            raise ValueError(
                f"network.width {self.width}, depth {self.depth}, heads {self.heads}, patch {self.patch}: each at "
                "least 1, and twice the heads must divide the width"
            )

    @property
    def name(self) -> str:
        """As models have it on disk."""
        return "patches"

    @property
    def takes_image_tokens(self) -> bool:
        """It takes the first frame's latent."""
        return False

    def new(self, shapes: DataShapes) -> VideoModel:
        """A network with random weights. InputError where patches do not fill the latent's grid."""
        from models.patches.transformer import PatchTransformer

        channels, _, height, width = shapes.latent
        if height % self.patch or width % self.patch:
            raise InputError(f"network.patch {self.patch}: must divide the latent's {height} x {width} cells.")
        sizes = {"width": self.width, "depth": self.depth, "heads": self.heads, "patch": self.patch}
        made: VideoModel = PatchTransformer(channels=channels, text_width=shapes.text[1], **sizes)
        return made

    def summary(self) -> str:
        """Its sizes."""
        return f"{self.depth} layers of {self.width}, patches of {self.patch} x {self.patch}"
