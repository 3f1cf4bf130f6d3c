import csv
from pathlib import Path

import pytest

from base.errors import InputError
from media.pairs import Pair, read_pairs


def test_a_table(tmp_path: Path) -> None:
    """As spreadsheets write it: a byte order mark, quotes, line ends of their own."""
    text = '\ufeffimage,prompt,seed,more\r\na.png,"a cat, and\r\na dog",7,x\r\nsub/b.png,,,\r\n'
    (tmp_path / "pairs.csv").write_bytes(text.encode())
    assert read_pairs(tmp_path / "pairs.csv") == [
        Pair(tmp_path / "a.png", "a cat, and\na dog", 7),
        Pair(tmp_path / "sub/b.png", "", None),
    ]


def test_a_folder(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "c.webp", "d.mp4", ".hidden.png"):
        (tmp_path / name).touch()
    for name in "abcd":
        (tmp_path / f"{name}.txt").write_text(f" the {name}\n", encoding="utf-8-sig")
    (tmp_path / "folder").mkdir()
    assert [(pair.image.name, pair.prompt, pair.seed) for pair in read_pairs(tmp_path)] == [
        ("a.JPG", "the a", None),
        ("b.png", "the b", None),
        ("c.webp", "the c", None),
        ("d.mp4", "the d", None),
    ]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ([], "there is no picture"),
        (["a.txt"], "there is no picture"),
        (["a.png"], "a.png has no partner. Add a.txt with its prompt"),
        (["a.png", "a.txt", "b.txt"], "b.txt has no partner. Add a picture named b"),
        (["a.png", "a.jpg", "a.txt"], "a.jpg and a.png share one text"),
    ],
)
def test_a_folder_in_which_something_has_no_partner(tmp_path: Path, files: list[str], told: str) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=told):
        read_pairs(tmp_path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "columns image and prompt, and at least one row"),
        (b"image,prompt\n", "at least one row"),
        (b"picture,text\na,b\n", "columns image and prompt"),
        (b"image,prompt\n,b\n", "row 1 has no image"),
        (b"image,prompt,seed\na,b,x\n", "a seed is not a whole number"),
        (b"image,prompt\na," + b"x" * 200_000, "is not a readable CSV file"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_table(tmp_path: Path, content: bytes | None, told: str) -> None:
    csv.field_size_limit(131_072)  # Python's own, which reading a manifest raises for the whole process
    if content is not None:
        (tmp_path / "pairs.csv").write_bytes(content)
    with pytest.raises(InputError, match=told):
        read_pairs(tmp_path / "pairs.csv")


def test_prompts_alone(tmp_path: Path) -> None:
    """For text-to-video models; an image is told of where there is one."""
    (tmp_path / "prompts.csv").write_text("prompt,seed\na cat,7\na dog,\n")
    assert read_pairs(tmp_path / "prompts.csv", images=False) == [Pair(None, "a cat", 7), Pair(None, "a dog")]
    (tmp_path / "mixed.csv").write_text("image,prompt\na.png,a cat\n,a dog\n")
    mixed = [Pair(tmp_path / "a.png", "a cat"), Pair(None, "a dog")]
    assert read_pairs(tmp_path / "mixed.csv", images=False) == mixed
    (tmp_path / "texts.csv").write_text("text\na cat\n")
    with pytest.raises(InputError, match="it must have the column prompt, and at least one row"):
        read_pairs(tmp_path / "texts.csv", images=False)
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(InputError, match="there is no prompt"):
        read_pairs(folder, images=False)
    for name in "ba":
        (folder / f"{name}.txt").write_text(f"the {name}")
    assert read_pairs(folder, images=False) == [Pair(None, "the a"), Pair(None, "the b")]
    with pytest.raises(InputError, match="there is no picture"):
        read_pairs(folder)
