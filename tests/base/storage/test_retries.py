import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base.errors import StorageError
from base.storage import retries, uri
from base.storage.folder import Folder
from base.storage.retries import RetryingStore, is_overloaded, retry
from dataset.lock import WriteLock
from dataset.parts.part_file import encode_part, read_part
from tests.base.storage.flaky import Flaky, flaky_proxy


@pytest.fixture
def flaky(bucket: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Folder, Flaky]]:
    """A folder in a store that answers half the requests with 503."""
    with flaky_proxy(s3_endpoint, 0.5) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        uri.filesystem.cache_clear()
        yield Folder(f"{bucket}/d"), proxy
    uri.filesystem.cache_clear()


def test_a_store_that_fails_half_the_requests_is_used_to_the_end(flaky: tuple[Folder, Flaky], tmp_path: Path) -> None:
    folder, proxy = flaky
    table = pa.table({"a": pa.array(range(1000)), "b": ["x" * 50] * 1000})
    with WriteLock(folder) as lock:
        for number in range(4):
            folder.write(f"small{number}", b"1")
            folder.write(f"table{number}.parquet", encode_part(table, 100))
            assert folder.read(f"small{number}") == b"1"
            assert read_part(folder, f"table{number}.parquet", ["b"]) == table.select(["b"])
            assert folder.exists(f"small{number}")
            assert not folder.exists("none")
            lock.fence.check()
        assert [entry.name for entry in folder.files("parquet")] == [f"table{n}.parquet" for n in range(4)]
        (tmp_path / "large").write_bytes(bytes(12 << 20))
        folder.put(tmp_path / "large")
        folder.fetch("large", tmp_path / "back")
        assert (tmp_path / "back").stat().st_size == 12 << 20
        fs, path = uri.split(folder.file("streamed.parquet"))
        with fs.open_output_stream(path) as stream, pq.ParquetWriter(stream, table.schema) as writer:
            writer.write_table(table)
        assert pq.ParquetFile(fs.open_input_file(path)).read() == table
        folder.delete("small0")
        with pytest.raises(FileNotFoundError):
            folder.read("small0")
    assert (folder / "runs").files() == []
    folder.delete_all()
    assert folder.files() == []
    assert all(proxy.failed[method] > 3 for method in ("GET", "PUT", "HEAD"))


def test_a_store_whose_connections_break_is_used_to_the_end(flaky: tuple[Folder, Flaky], tmp_path: Path) -> None:
    """So many of them that the SDK's own seven attempts are often not enough."""
    folder, proxy = flaky
    proxy.share = 0.0
    folder.write("first", b"1")
    proxy.kind, proxy.share = "reset", 0.8
    for number in range(4):
        folder.write(f"written{number}", b"2")
        assert folder.read(f"written{number}") == b"2"
        assert folder.create(f"created{number}", b"3") or folder.read(f"created{number}") == b"3"
    (tmp_path / "large").write_bytes(bytes(1 << 20))
    folder.put(tmp_path / "large")
    proxy.share = 0.0
    assert len(folder.files()) == 1 + 2 * 4 + 1
    assert sum(proxy.failed.values()) > 30


@pytest.mark.parametrize(
    ("text", "overloaded"),
    [
        ("AWS Error UNKNOWN (HTTP status 503) during HeadObject operation: No response body.", True),
        ("AWS Error SLOW_DOWN during PutObject operation: Please reduce your request rate.", True),
        ("AWS Error INTERNAL_FAILURE during GetObject operation: Failed to flush response stream", True),
        ("An error occurred (SlowDown) when calling the PutObject operation (reached max retries: 4)", True),
        ("AWS Error UNKNOWN (HTTP status 507) during PutObject operation: ExceptionName: XMinioStorageFull", False),
        ("AWS Error ACCESS_DENIED during HeadObject operation: No response body.", False),
        ("AWS Error NO_SUCH_BUCKET during PutObject operation", False),
        ("AWS Error NETWORK_CONNECTION during ListObjectsV2 operation: curlCode: 7", False),
    ],
)
def test_what_may_pass(text: str, overloaded: bool) -> None:
    assert is_overloaded(OSError(text)) is overloaded


class Clock:
    """Stands for the module ``time``: whoever sleeps is awake at once, so much later."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """After two minutes of pauses that grow to eight seconds."""
    clock = Clock()
    monkeypatch.setattr(retries, "time", clock)

    def overloaded() -> None:
        raise OSError("HTTP status 503")

    with pytest.raises(OSError, match="503"):
        retry(overloaded)
    assert 120 <= sum(clock.pauses) < 128
    assert all(pause <= min(0.1 * 2**number, 8) for number, pause in enumerate(clock.pauses))
    assert max(clock.pauses) > 4


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (507, "XMinioStorageFull", "the bucket is full: free space"),
        (403, "QuotaExceeded", "the bucket is full: free space"),
        (403, "AccessDenied", "access is denied to these credentials"),
        (403, "InvalidAccessKeyId", "the credentials are not valid here: check AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", "the credentials are not valid here: check AWS_ACCESS_KEY_ID"),
        (400, "ExpiredToken", "the credentials have expired: renew them"),
    ],
)
def test_what_does_not_pass_is_told_at_once(flaky: tuple[Folder, Flaky], status: int, code: str, said: str) -> None:
    folder, proxy = flaky
    proxy.share, proxy.status, proxy.code = 1.0, status, code
    for write in (folder.write, folder.create):
        with pytest.raises(StorageError, match=said):
            write("a", b"1")
    with pytest.raises(StorageError, match=said):
        folder.exists("a")


def test_a_lost_connection_is_waited_for_and_a_wrong_address_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(retries, "time", clock)
    store = RetryingStore({"region": "us-east-1", "endpoint_override": "http://127.0.0.1:1"})
    answers = iter([OSError("AWS Error NETWORK_CONNECTION during GetObject operation: curlCode: 56")] * 4)

    def lost() -> str:
        for error in answers:
            raise error
        return "there"

    with pytest.raises(OSError, match="NETWORK_CONNECTION"):
        retry(lost, store)
    assert not clock.pauses
    with pytest.raises(OSError, match="404"):
        retry(missing, store)
    assert retry(lost, store) == "there"
    assert len(clock.pauses) == 3


def missing() -> None:
    raise FileNotFoundError("404")


def test_other_errors_are_not_tried_again() -> None:
    with pytest.raises(FileNotFoundError):
        retry(missing)


def test_a_store_travels(s3_endpoint: str) -> None:
    store = RetryingStore({"region": "us-east-1", "endpoint_override": os.environ["AWS_ENDPOINT_URL"]})
    assert pickle.loads(pickle.dumps(store)) == store
