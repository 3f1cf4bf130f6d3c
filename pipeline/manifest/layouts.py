"""Explains files and folders that are not supported manifests, with remedies."""

from collections import Counter
from pathlib import PurePosixPath

_EXPECTED = (
    "expected is a folder of videos, .tar shards or Parquet files, or a file that ends in .csv, .tsv, .jsonl, .json, "
    ".parquet or .tar"
)
_FILES = {
    ".xlsx": "It looks like a spreadsheet: save it as CSV.",
    ".xls": "It looks like a spreadsheet: save it as CSV.",
    ".txt": "If it lists one video per line, add 'video' as its first line and rename it to .csv.",
    ".tgz": "It is a compressed tar, which can't be read from the middle: unpack it with gunzip.",
    ".tar.gz": "It is a compressed tar, which can't be read from the middle: unpack it with gunzip.",
    ".zip": "It is an archive: unpack it, and give the folder.",
    ".arrow": "It looks like a Hugging Face dataset saved to disk: write it with Dataset.to_parquet.",
    ".yaml": "Write its rows as CSV or JSON lines.",
    ".pkl": "Write its rows as CSV or JSON lines.",
    ".mds": "It looks like a shard of MosaicML streaming: write its videos to files or to tar shards.",
    ".tfrecord": "It looks like a TFRecord: write its videos to files or to tar shards.",
}


def describe_file(source: str) -> str:
    """Why a file is not a manifest, and what to do."""
    name = source.lower()
    hint = next((text for suffix, text in _FILES.items() if name.endswith(suffix)), "")
    return f"{_EXPECTED}. {hint}".rstrip()


def describe_folder(path: str, files: set[str], video_suffixes: tuple[str, ...]) -> str:
    """Why a folder is not a manifest, and what to do."""
    inside = [file.removeprefix(path).lstrip("/") for file in files]
    suffixes = Counter(PurePosixPath(file).suffix.lower() for file in inside)
    top = sorted(file for file in inside if "/" not in file)
    tables = [
        file for file in top if file.lower().endswith((".csv", ".tsv", ".jsonl", ".json", ".csv.gz", ".jsonl.gz"))
    ]
    start = "the folder holds no videos, tar shards or Parquet files"
    if "dataset_info.json" in top or suffixes[".arrow"]:
        return f"{start}. {_FILES['.arrow']}"
    if suffixes[".mds"]:
        return f"{start}. {_FILES['.mds']}"
    if any(file.lower().endswith((".tar.gz", ".tgz")) for file in inside):
        return f"{start}. It holds compressed tar files, which can't be read from the middle: unpack them with gunzip."
    if suffixes[".zip"]:
        return f"{start}. It holds archives: unpack them."
    if suffixes[".jpg"] + suffixes[".png"] > 0:
        return f"{start}. It looks like frames as pictures: join those of each video with ffmpeg."
    if tables:
        return f"{start}. It holds {', '.join(tables[:3])}: give that file as the manifest."
    return f"{start} ({', '.join(video_suffixes)})."
