"""The sources that a plan needs probed, in the manifest's order and each once."""

from collections.abc import Iterator

import pyarrow as pa

from base.keys import KeySet, keys_of_texts, seen_before

SOURCE = pa.schema([("uri", pa.string()), ("stamp", pa.string())])


class SourcesToProbe:
    """A set of URIs with their stamps, about 100 bytes each: Arrow tables of up to ``table_rows`` rows."""

    def __init__(self, table_rows: int = 8192) -> None:
        self.table_rows = table_rows
        self._added: tuple[list[str], list[str]] = ([], [])
        self._known = KeySet()
        self._tables: list[pa.Table] = []

    def add(self, uri: str, stamp: str) -> None:
        """Add a source; one that is there keeps its place and stamp."""
        uris, stamps = self._added
        uris.append(uri)
        stamps.append(stamp)
        if len(uris) >= self.table_rows:
            self._settle()

    def _settle(self) -> None:
        uris, stamps = self._added
        self._added = ([], [])
        keys = keys_of_texts(uris)
        new = ~(self._known.has(keys) | seen_before(keys))
        if new.any():
            self._known.add(keys[new])
            self._tables.append(pa.table([uris, stamps], schema=SOURCE).filter(pa.array(new)))

    def tables(self) -> list[pa.Table]:
        """All of them, rows as :data:`SOURCE`."""
        self._settle()
        return self._tables

    def __len__(self) -> int:
        """The number of sources."""
        return sum(table.num_rows for table in self.tables())

    def __iter__(self) -> Iterator[str]:
        """The URIs."""
        return (uri for table in self.tables() for uri in table.column("uri").to_pylist())

    def __contains__(self, uri: str) -> bool:
        """Whether a source is to be probed."""
        self._settle()
        return bool(self._known.has(keys_of_texts([uri]))[0])
