"""Parts that are not whole, or not what their place says, known by their footers."""

import errno
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from base.errors import DamagedFile
from base.storage.damage import named_damage
from base.storage.folder import Folder
from dataset.catalog import Artifact
from dataset.parts.footers import digest_ids, make_label, read_footer, read_footers
from dataset.parts.tables import StoreOptions, part_names, write_part

PART = "part-a.parquet"
LABEL = make_label("latents", {"version": 1}, {"scale": 2.0})


def table(rows: int = 40) -> pa.Table:
    ids: list[str | None] = [f"clip{number}" for number in range(rows)]
    ids[1] = None
    return pa.table({"clip_id": ids, "value": [bytes([number] * 100) for number in range(rows)]})


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    found = Folder(str(tmp_path / "latents"))
    write_part(found, PART, table(), StoreOptions(16, 8), LABEL | {"ids": digest_ids("abc")})
    return found


def test_a_footer_tells_what_the_part_is(folder: Folder) -> None:
    footer = read_footer(folder, PART)
    assert (footer.rows, footer.nulls, footer.facts["part"], footer.facts["kind"]) == (40, 1, PART, "latents")
    artifact = Artifact("latents", {"version": 1}, {"scale": 2.0}, {})
    assert artifact.label == LABEL
    footer.check(folder, "latents", artifact.fingerprint, footer)


def cut(data: bytes, share: float) -> bytes:
    return data[: int(share * len(data))]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "no bytes": lambda data: b"",
    "one byte": lambda data: data[:1],
    "cut in half": lambda data: cut(data, 0.5),
    "last byte lost": lambda data: data[:-1],
    "zeroed": lambda data: bytes(len(data)),
    "head zeroed": lambda data: bytes(8) + data[8:],
    "tail zeroed": lambda data: data[:-8] + bytes(8),
    "middle lost": lambda data: data[:200] + data[900:],
    "text": lambda data: b"not a Parquet file at all\n" * 40,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named(folder: Folder, damage: str) -> None:
    path = folder.path / PART
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(DamagedFile, match=rf"^{folder.file(PART)} is damaged: \w"):
        read_footer(folder, PART)
    write_part(folder, "part-b.parquet", table(), StoreOptions(8, 8), LABEL)
    whole, broken = read_footers(folder, part_names(folder))
    assert (list(whole), list(broken)) == (["part-b.parquet"], [PART])


def test_a_part_in_a_wrong_place_is_named(folder: Folder, tmp_path: Path) -> None:
    footer = read_footer(folder, PART)
    with pytest.raises(DamagedFile, match="is another part: kind latents, not heatmaps"):
        footer.check(folder, "heatmaps")
    with pytest.raises(DamagedFile, match=r"another part: fingerprint \w+, not other"):
        footer.check(folder, "latents", "other")
    (folder.path / PART).rename(folder.path / "part-c.parquet")
    with pytest.raises(DamagedFile, match=f"another part: part {PART}, not part-c.parquet"):
        read_footer(folder, "part-c.parquet").check(folder, "latents")
    clips = Folder(str(tmp_path / "clips"))
    write_part(clips, PART, table(39), StoreOptions(8, 8), {"ids": digest_ids("abc")})
    with pytest.raises(DamagedFile, match="it has 40 rows, the clips have 39"):
        footer.check(folder, "latents", beside=read_footer(clips, PART))
    write_part(clips, PART, table(), StoreOptions(8, 8), {"ids": digest_ids("abd")})
    with pytest.raises(DamagedFile, match="another part: ids"):
        footer.check(folder, "latents", beside=read_footer(clips, PART))


def test_an_error_of_the_store_is_no_damage(folder: Folder) -> None:
    with pytest.raises(FileNotFoundError):
        read_footer(folder, "part-none.parquet")
    for error in (OSError(errno.EIO, "Input/output error"), OSError("AWS Error NETWORK_CONNECTION"), TimeoutError()):
        with pytest.raises(type(error)) as caught, named_damage("s3://b/part"):
            raise error
        assert not isinstance(caught.value, DamagedFile)
