"""prompt.csv, whose headers are not documented, in all the shapes that programs give such a file."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from base.errors import InputError
from evaluation.bench.prompt_table import read_prompt_table
from tests.evaluation.bench.small import ROWS, TABLE, write_images


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_images(folder)
    return folder


def written(
    header: tuple[str, ...] | None,
    rows: list[tuple[str, ...]],
    delimiter: str = ",",
    end: str = "\n",
    every: bool = False,
) -> str:
    """A table with quotes around every field, or where they are needed."""
    text = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if every else csv.QUOTE_MINIMAL
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerows([header, *rows] if header else rows)
    return text.getvalue()


def numbered(row: tuple[str, str]) -> tuple[str, str, str]:
    return (str(ROWS.index(row)), *row)


EXCEL = written(("Bild", "Satz"), [(f"images/{image}", prompt) for image, prompt in ROWS], ";", "\r\n")
WINDOWS = [(rf"D:\bench\TI2V-Bench\images\{image.upper()}", prompt) for image, prompt in ROWS]
FURTHER = [
    (prompt, "blurry, low quality", f"a picture of {image[:3]}", str(number), f"./images/{image}", "")
    for number, (image, prompt) in enumerate(ROWS)
]
SHAPES = {
    "plain": TABLE.encode(),
    "byte order mark, semicolons, CRLF": EXCEL.encode("utf-8-sig"),
    "UTF-16 with tabs": written(("a", "b"), list(ROWS), "\t", "\r\n").encode("utf-16"),
    "every field in quotes": written(("image", "prompt"), list(ROWS), every=True).encode(),
    "bars": written(("path", "p"), list(ROWS), "|").encode(),
    "Windows paths of another machine": written(("", ""), WINDOWS).encode(),
    "no headers": written(None, list(ROWS)).encode(),
    "prompts first": written(("x", "y"), [(prompt, image) for image, prompt in ROWS]).encode(),
    "a number in front, empty lines": written(("", "i", "p"), [numbered(row) for row in ROWS], end="\n\n").encode(),
    "further columns": written(("said", "negative", "about", "n", "file", "rest"), FURTHER, ";").encode(),
    "a comma too many at each end": "".join(f"{line},\n" for line in TABLE.splitlines()[:4]).encode()
    + b'images/sun1.png,"The sun getting higher",,\nimages/sun1.png,"the sun ""sets"" slowly; clouds\npass"\n',
}


@pytest.mark.parametrize("shape", SHAPES)
def test_columns_are_found_by_their_values(folder: Path, shape: str) -> None:
    (folder / "prompt.csv").write_bytes(SHAPES[shape])
    found = read_prompt_table(folder)
    assert [(row.image and row.image.name, row.prompt) for row in found] == list(ROWS)
    assert all(row.image is not None and row.image.is_file() for row in found)


_SAID = st.text(st.sampled_from("ab ,;|\t\"'.\\é\n-"), max_size=12)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=st.lists(_SAID, min_size=len(ROWS), max_size=len(ROWS)),
    order=st.permutations(range(4)),
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(("\n", "\r\n")),
    coding=st.sampled_from(("utf-8", "utf-8-sig", "utf-16")),
    every=st.booleans(),
)
def test_any_table_gives_its_rows(
    folder: Path, said: list[str], order: list[int], delimiter: str, end: str, coding: str, every: bool
) -> None:
    """Whatever the delimiter, the quotes, the order of the columns and the prompts' characters."""
    prompts = [f"{number} moves {text}" for number, text in enumerate(said)]
    full = [
        (f"images/{image}", prompt, str(number), "the same words")
        for number, ((image, _), prompt) in enumerate(zip(ROWS, prompts, strict=True))
    ]
    rows = [tuple(row[column] for column in order) for row in full]
    text = written(tuple("wxyz"[column] for column in order), rows, delimiter, end, every)
    (folder / "prompt.csv").write_bytes(text.encode(coding))
    found = read_prompt_table(folder)
    assert [row.image and row.image.name for row in found] == [image for image, _ in ROWS]
    assert [row.prompt for row in found] == [" ".join(prompt.split()) for prompt in prompts]


def test_a_table_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """With paths relative to the whole, or to the table."""
    write_images(tmp_path / "all")
    (tmp_path / "all" / "tables").mkdir()
    (tmp_path / "all" / "tables" / "Prompt.csv").write_text(TABLE)
    assert [row.image and row.image.name for row in read_prompt_table(tmp_path / "all")] == [image for image, _ in ROWS]
    write_images(tmp_path / "beside" / "inner")
    (tmp_path / "beside" / "inner" / "prompt.csv").write_text(TABLE)
    assert len(read_prompt_table(tmp_path / "beside")) == len(ROWS)


def test_a_missing_image_is_a_row_without_one(folder: Path) -> None:
    (folder / "prompt.csv").write_text(TABLE + "images/cat1.png,a cat sleeps\n")
    last = read_prompt_table(folder)[-1]
    assert (last.image, last.said, last.line) == (None, "images/cat1.png", 7)
    (folder / "prompt.csv").write_text("images/cat1.png,a cat sleeps\n" + TABLE.partition("\n")[2])
    assert read_prompt_table(folder)[0].image is None  # no line of headers


def test_a_column_is_named_where_values_do_not_tell(folder: Path) -> None:
    rows = [(image, f"say {prompt}", prompt) for image, prompt in ROWS]
    (folder / "prompt.csv").write_text(written(("image", "text to read", "Prompt "), rows))
    assert [row.prompt for row in read_prompt_table(folder)] == [prompt for _, prompt in ROWS]
    (folder / "prompt.csv").write_text(written(("image", "one", "other"), rows))
    with pytest.raises(InputError, match=r"columns 2 and 3 may all be the prompts\. Call the column .* `prompt`"):
        read_prompt_table(folder)
    images = [("dog1.png", image, prompt) for image, prompt in ROWS]
    (folder / "prompt.csv").write_text(written(("thumbnail", "image", "prompt"), images))
    assert [row.image and row.image.name for row in read_prompt_table(folder)] == [image for image, _ in ROWS]
    (folder / "prompt.csv").write_text(written(("one", "other", "prompt"), images))
    with pytest.raises(InputError, match="columns 1 and 2 all name images. Call the one to use `image`"):
        read_prompt_table(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column names images that are there"),
        (b"image,prompt\n", "no column names images that are there"),
        (b"image,prompt\nimages/cat1.png,a cat sleeps\n", "no column names images that are there"),
        (b"image,prompt\nimages/dog1.png,\n", "line 2 has no prompt. Fill it in"),
        (b"image,prompt\nimages/dog1.png,a dog barks\n,a dog sleeps\n", "line 3 has no image. Fill it in"),
        (b"image,prompt\nimages/dog1.png,a dog barks, and runs\n", "line 2 has 3 fields instead of 2. Put quotes"),
        (b"image\nimages/dog1.png\n", "no column has sentences. Call the column with the prompts `prompt`"),
        (b"image,n\nimages/dog1.png,1\n", "no column has sentences"),
        (b'image,prompt\nimages/dog1.png,"a dog\n', "it is not a readable CSV file (unexpected end of data)"),
        (b"image,prompt\nimages/dog1.png,ein H\xfcndchen bellt\n", "is not UTF-8 text. Save it as UTF-8"),
        (b"image,prompt\nimages/dog1.png,a dog\0barks\n", "has a zero byte and is not text"),
    ],
)
def test_a_table_that_cannot_be_read(folder: Path, content: bytes, message: str) -> None:
    (folder / "prompt.csv").write_bytes(content)
    with pytest.raises(InputError) as raised:
        read_prompt_table(folder)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_folder_that_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no such folder\. Download .* `motif bench ti2v --stand-in"):
        read_prompt_table(tmp_path / "none")
    with pytest.raises(InputError, match=r"has no prompt\.csv"):
        read_prompt_table(tmp_path)
    (tmp_path / "prompt.csv").write_text(TABLE)
    with pytest.raises(InputError, match="there are no pictures"):
        read_prompt_table(tmp_path)
    write_images(tmp_path)
    (tmp_path / "images" / "prompt.csv").write_text(TABLE)
    with pytest.raises(InputError, match=r"has both .*prompt\.csv and .*prompt\.csv"):
        read_prompt_table(tmp_path)
