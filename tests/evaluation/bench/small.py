"""A dataset of three images and five pairs, far smaller than TI2V-Bench."""

from pathlib import Path

import cv2
import numpy as np

ROWS = (
    ("dog1.png", "A dog barking."),
    ("dog1.png", "the dog's tail, waving"),
    ("dog2.png", "A dog barking."),
    ("sun1.png", "The sun getting higher"),
    ("sun1.png", 'the sun "sets" slowly; clouds pass'),
)
NAMES = (
    "dog1_a_dog_barking",
    "dog1_the_dogs_tail_waving",
    "dog2_a_dog_barking",
    "sun1_the_sun_getting_higher",
    "sun1_the_sun_sets_slowly_clouds_pass",
)
TABLE = """image,prompt
images/dog1.png,A dog barking.
images/dog1.png,"the dog's tail, waving"
images/dog2.png,A dog barking.
images/sun1.png,The sun getting higher
images/sun1.png,"the sun ""sets"" slowly; clouds pass"
"""


def write_images(folder: Path) -> None:
    """Noise, of another size each."""
    (folder / "images").mkdir(parents=True)
    for number, name in enumerate(dict.fromkeys(image for image, _ in ROWS)):
        noise = np.random.default_rng(number).integers(0, 256, (48 + 8 * number, 64, 3), np.uint8)
        cv2.imwrite(str(folder / "images" / name), cv2.blur(noise, (9, 9)))


def write_dataset(folder: Path) -> Path:
    """The images and their prompts."""
    write_images(folder)
    (folder / "prompt.csv").write_text(TABLE)
    return folder
