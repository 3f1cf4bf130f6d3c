"""Videos inside larger files: a member of a tar shard, or a value of a Parquet column, each with its own URI.

    /data/00000.tar#offset=1536&size=20480&member=0001.mp4
    s3://bucket/part-0.parquet#row_group=2&row=17&column=video.bytes

Such a URI is enough to read the video again, without unpacking or an index.
"""

import re
from dataclasses import dataclass

_TAR = re.compile(r"(.+?)#offset=(\d+)&size=(\d+)&member=(.*)", re.DOTALL)
_PARQUET = re.compile(r"(.+?)#row_group=(\d+)&row=(\d+)&column=(.*)", re.DOTALL)


@dataclass(frozen=True)
class TarMember:
    """The bytes ``offset`` to ``offset + size`` of ``container``, an uncompressed tar file."""

    container: str
    offset: int
    size: int
    name: str

    @property
    def uri(self) -> str:
        """The member as a URI."""
        return f"{self.container}#offset={self.offset}&size={self.size}&member={self.name}"


@dataclass(frozen=True)
class ParquetValue:
    """The binary value in ``row`` (counted within its row group) of a Parquet file's column.

    ``column`` is the path of a leaf, such as ``video.bytes`` of a struct with the field ``bytes``.
    """

    container: str
    row_group: int
    row: int
    column: str

    @property
    def uri(self) -> str:
        """The value as a URI."""
        return f"{self.container}#row_group={self.row_group}&row={self.row}&column={self.column}"


def parse_member(uri: str) -> TarMember | ParquetValue | None:
    """The member of a URI; None for a plain file."""
    if "#" not in uri:
        return None
    if found := _TAR.fullmatch(uri):
        return TarMember(found[1], int(found[2]), int(found[3]), found[4])
    if found := _PARQUET.fullmatch(uri):
        return ParquetValue(found[1], int(found[2]), int(found[3]), found[4])
    return None


def container(uri: str) -> str:
    """The file that must be opened to read ``uri``: the shard of a member, else the URI itself."""
    member = parse_member(uri)
    return uri if member is None else member.container
