"""What a row's values mean: the URI of a name, the text of a caption, a fault of its times; one by one, or in columns.

Of each there are two functions, of one value and of many. The second gives what the first would, without a step of
Python for the usual values.
"""

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from base.storage.folder import Folder
from base.storage.uri import is_remote, local_path
from pipeline.manifest.members import parse_member
from pipeline.manifest.segments import seconds

# What an absolute path that is not in the form in which it is stored may have in it.
_UNUSUAL = re.compile(r"//|#|/\.{1,2}(/|$)|/$")
_WEB = re.compile(r"^https?://")


def uri_of(name: str, root: str) -> str:
    """The URI of a video; relative paths are in the folder ``root``."""
    if name.startswith("s3://") or (name.startswith("/") and not _UNUSUAL.search(name)):
        return name  # what follows takes longer
    if is_remote(name) or parse_member(name) is not None:
        return name
    if name.startswith(("/", "~/", "file://")):
        return str(local_path(name))
    return Folder(root).file(name)


def uris_of(names: pa.Array, root: str) -> pa.Array:
    """:func:`uri_of` of a column."""
    usual = pc.invert(pc.match_substring_regex(names, _UNUSUAL.pattern))
    same = pc.or_(pc.starts_with(names, "s3://"), pc.and_(pc.starts_with(names, "/"), usual))
    others = pc.invert(same)
    found = [uri_of(name, root) for name in names.filter(others).to_pylist()]
    return pc.replace_with_mask(names, others, pa.array(found, pa.string())) if found else names


def text_of(caption: Any) -> str | None:
    """A caption as text, the first of several."""
    if isinstance(caption, list | tuple) and caption:
        caption = caption[0]
    return caption.strip() if isinstance(caption, str) else None


def texts_of(captions: pa.Array | pa.ChunkedArray) -> pa.Array:
    """:func:`text_of` of a column."""
    if pa.types.is_null(captions.type):
        return pa.nulls(len(captions), pa.string())
    texts = strings(captions)
    if texts is None:
        return pa.array([text_of(caption) for caption in captions.to_pylist()], pa.string())
    return pc.utf8_trim_whitespace(texts)


def strings(column: pa.Array | pa.ChunkedArray) -> pa.Array | None:
    """A column of strings as one array, whichever of Arrow's types it has; None for another column."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        return None
    texts = column.cast(pa.string())
    return texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts


def times_of(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """:func:`pipeline.manifest.segments.seconds` of a column."""
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.float64())
    return pa.array([seconds(value) for value in column.to_pylist()], pa.float64())


def fault_of(name: str, start: float | None, end: float | None) -> str | None:
    """Why a video with this name and these times cannot be used ("class: message"), or None."""
    if _WEB.match(name):
        return "NotFetched: videos are not downloaded from the web, download it first"
    if end is not None and end <= (start or 0.0):
        return f"BadSpan: it ends at {end:g} s and starts at {start or 0:g} s"
    return None


def faults_of(names: pa.Array, starts: pa.Array, ends: pa.Array) -> pa.Array:
    """:func:`fault_of` of columns."""
    doubtful = pc.or_(pc.match_substring_regex(names, _WEB.pattern), pc.is_valid(ends))
    faults: list[str | None] = [None] * len(names)
    for at in np.flatnonzero(np.asarray(doubtful)).tolist():
        faults[at] = fault_of(names[at].as_py(), starts[at].as_py(), ends[at].as_py())
    return pa.array(faults, pa.string())
