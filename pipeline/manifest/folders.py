"""Folders as manifests: videos with sidecar captions, tar shards, or Parquet files."""

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pyarrow.fs as pafs

from base.errors import InputError
from base.storage.errors import explained
from base.storage.uri import is_remote, split
from pipeline.manifest.columns import CAPTION_NAMES, ManifestColumns, Row
from pipeline.manifest.layouts import describe_folder
from pipeline.manifest.samples import VIDEO_SUFFIXES
from pipeline.manifest.segments import seconds

_LARGEST_SIDECAR = 16 << 20


class FolderFiles:
    """All files under a folder, by kind; ``metadata`` is the table of a Hugging Face `videofolder`."""

    def __init__(self, source: str) -> None:
        self.source = source
        fs, self.path = split(source)
        with explained(source):
            infos = fs.get_file_info(pafs.FileSelector(self.path, recursive=True))
        self.scheme = source.split("://", 1)[0] + "://" if is_remote(source) else ""
        self.files = {info.path for info in infos if info.type == pafs.FileType.File and not _is_hidden(info.base_name)}
        self.videos = self._of(*VIDEO_SUFFIXES)
        self.shards = self._of(".tar")
        self.parquet = self._of(".parquet")
        names = (f"{self.path}/metadata{suffix}" for suffix in (".csv", ".jsonl", ".parquet"))
        self.metadata = next((self.scheme + name for name in names if name in self.files), None)

    def _of(self, *suffixes: str) -> list[str]:
        return [self.scheme + file for file in sorted(self.files) if PurePosixPath(file).suffix.lower() in suffixes]

    def kind(self) -> str:
        """``metadata``, ``videos``, ``shards`` or ``parquet``; InputError if the folder matches none or two of them."""
        if self.videos and self.shards:
            raise InputError(
                f"manifest '{self.source}': the folder holds {len(self.videos):,} videos and {len(self.shards):,} tar "
                f"shards. Give one of the two, for example '{self.source.rstrip('/')}/*.tar'."
            )
        if self.videos:
            return "metadata" if self.metadata else "videos"
        if self.shards or self.parquet:
            return "shards" if self.shards else "parquet"
        raise InputError(f"manifest '{self.source}': {describe_folder(self.path, self.files, VIDEO_SUFFIXES)}")


def _is_hidden(name: str) -> bool:
    """Hidden files, and Parquet metadata files without rows (``_metadata``).

    Videos may begin with ``_``: many ids do.
    """
    return name.startswith(".") or (name.startswith("_") and name.lower().endswith(".parquet"))


def folder_rows(folder: FolderFiles, columns: ManifestColumns) -> Iterator[Row]:
    """One row per video, with the caption from ``name.txt`` or ``name.json`` next to ``name.mp4``."""
    for video in folder.videos:
        path = video.removeprefix(folder.scheme)
        text, facts = (str(PurePosixPath(path).with_suffix(suffix)) for suffix in (".txt", ".json"))
        fs, _ = split(folder.source)
        sidecars = {}
        for kind, file in (("txt", text), ("json", facts)):
            if file in folder.files:
                with explained(folder.source), fs.open_input_stream(file) as stream:
                    sidecars[kind] = bytes(stream.read(_LARGEST_SIDECAR))
        yield sidecar_row(video, sidecars, columns)


def sidecar_row(uri: str, sidecars: dict[str, bytes], columns: ManifestColumns) -> Row:
    """The row of a video from its sidecar files, ``txt`` (the caption) and ``json`` (fields)."""
    facts: dict[str, Any] = {}
    if "json" in sidecars:
        try:
            read = json.loads(sidecars["json"])
        except (ValueError, RecursionError):
            read = None
        if not isinstance(read, dict):
            return uri, None, None, None, "BadRow: the .json beside it is not a JSON object"
        facts = read
    name = columns.caption or next((name for name in CAPTION_NAMES if name in facts), None)
    caption = facts.get(name) if name else None
    if isinstance(caption, list) and caption:
        caption = caption[0]
    caption = caption.strip() if isinstance(caption, str) else None
    if "txt" in sidecars and not (columns.caption and columns.caption in facts):
        try:
            caption = sidecars["txt"].decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            return uri, None, None, None, "CaptionNotText: the .txt beside it is not UTF-8"
    try:  # times noted by a downloader refer to the uncut video, so only explicitly given fields are used
        start = seconds(facts.get(columns.start)) if columns.start else None
        end = seconds(facts.get(columns.end)) if columns.end else None
    except ValueError as error:
        return uri, caption, None, None, f"BadRow: {error}"
    return uri, caption, start, end, None
