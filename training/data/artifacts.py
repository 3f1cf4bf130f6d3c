"""The choice of a dataset's artifacts for training and validation; loads no torch."""

from dataclasses import dataclass

from dataset.heatmap.normalisation import Normalisation


@dataclass(frozen=True)
class Artifacts:
    """Which artifact of each kind to train on; empty: the only one of its kind.

    With ``normalisation``, heatmaps are recomputed from the stored flow intensity.
    """

    latents: str = ""
    heatmaps: str = ""
    text: str = ""
    image: str = ""
    normalisation: Normalisation | None = None
