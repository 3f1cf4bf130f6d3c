"""LAION's aesthetic predictor: a linear layer on CLIP's features, trained on people's ratings from 1 to 10."""

import numpy as np
from jaxtyping import Float

from base.errors import WeightsError
from base.tensor_hash import read_tensors, tensor_hash
from base.weights import Weights, locate
from evaluation.metrics.networks.clip import Clip

FILE = "sa_0_4_vit_l_14_linear.pth"
"""The name of LAION's file, for CLIP ViT-L/14."""
_PURPOSE = "--aesthetic"


class Aesthetic:
    """The predictor's layer."""

    def __init__(self, weight: Float[np.ndarray, " d"], bias: float) -> None:
        self.weight, self.bias = weight, bias

    def rate(self, features: Float[np.ndarray, "t d"]) -> Float[np.ndarray, " t"]:
        """The rating of each frame by CLIP's features of any length; about 1 to 10."""
        wide = features.astype(np.float64)
        return np.asarray(wide / np.linalg.norm(wide, axis=-1, keepdims=True) @ self.weight + self.bias)


def load_aesthetic(source: str, clip: Clip) -> tuple[Aesthetic, str]:
    """The predictor of a file for this model's features, and the hash of its tensors.

    WeightsError if the file has no such layer, or one for another number of features.
    """
    found = locate(Weights(source), ((FILE,),), _PURPOSE)
    tensors = {name: read().double().numpy() for name, read in read_tensors(found.files[0])}
    width = len(clip.prompt(""))
    if tensors.keys() != {"weight", "bias"} or tensors["weight"].shape[:1] != (1,) or tensors["bias"].size != 1:
        raise WeightsError(f"{_PURPOSE} {source} is not the linear layer of an aesthetic predictor, such as {FILE}.")
    if tensors["weight"].shape != (1, width):
        raise WeightsError(
            f"{_PURPOSE} {source} rates {tensors['weight'].shape[-1]} features, and CLIP has {width}. LAION's is for "
            "ViT-L-14: give that with --aesthetic-clip."
        )
    return Aesthetic(tensors["weight"][0], float(tensors["bias"].item())), tensor_hash(found.files, "aesthetic")
