"""Pictures by URL: no way leads to where the caller could not go, and nothing of it takes long."""

import ipaddress
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from serving.errors import ApiError
from serving.generate.models import ServedModel
from serving.requests.fetch import fetch_picture, resolve
from serving.settings import Settings
from tests.serving.calls import refusal
from tests.serving.server import serve
from tests.serving.tls import MIB, certificate, listening

HOST = "pictures.example"
URL = f"https://{HOST}/star.png"
PUBLIC = "93.184.215.14"


def nothing_is_asked(request: httpx2.Request) -> httpx2.Response:
    raise AssertionError(f"a request went to {request.url}")


def public(_host: str, _port: int) -> list[str]:
    return [PUBLIC]


def fetch(
    url: str = URL,
    hosts: tuple[str, ...] = (HOST,),
    find: Callable[[str, int], list[str]] = public,
    through: httpx2.AsyncBaseTransport | None = None,
    patience_s: float = 30.0,
) -> bytes:
    return fetch_picture(url, hosts, MIB, find, through or httpx2.MockTransport(nothing_is_asked), patience_s)


def refused(code: str = "image_url_refused", **how: object) -> str:
    with pytest.raises(ApiError) as caught:
        fetch(**how)  # type: ignore[arg-type]
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, code, "input_reference")
    return caught.value.message


def test_off_by_default() -> None:
    assert "upload the file" in refused("image_url_disabled", hosts=())


@pytest.mark.parametrize(
    "url",
    [
        f"http://{HOST}/a.png", "file:///etc/passwd", f"file://{HOST}/etc/passwd", f"ftp://{HOST}/a", f"//{HOST}/a",
        f"gopher://{HOST}/_x", f"jar:https://{HOST}/a", f"{HOST}/a.png", "", "https://", "https:///a",
        f"https://user@{HOST}/a", f"https://user:word@{HOST}/a", f"https://:@{HOST}/a", f"https://{HOST}@evil.example/",
        f"https://evil.example\\@{HOST}/", f"https://{HOST}\\@evil.example/", f"https://evil.example#@{HOST}/",
        f"https://{HOST}:8443/a", f"https://{HOST}:22/", f"https://{HOST}:0/", f"https://{HOST}:99999/",
        f"https://{HOST}:x/", f"https://{HOST}.evil.example/a", f"https://evil.{HOST}/a", f"https://{HOST}./a",
        "https://evil.example/", "https://127.0.0.1/", "https://[::1]/", "https://[::1/", "https://2130706433/",
        f"https://{HOST}%00.evil.example/", f"https://{HOST}\0.evil.example/", "https://pictures。example/",
        pytest.param("a" * 100_000, id="long"),
    ],
)  # fmt: skip
def test_only_https_urls_of_allowed_hosts(url: str) -> None:
    message = refused(url=url)
    assert len(message) < 300


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "100.100.100.200", "192.0.0.192", "198.18.0.1", "192.0.2.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
        "::1", "::", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%2", "fec0::1", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1", "2002:7f00:1::", "2001:0:5ef5:79fb::1",
    ],
)  # fmt: skip
def test_only_public_addresses(address: str) -> None:
    message = refused(find=lambda host, port: [address])
    assert message == f"'input_reference': the host {HOST} has no public address."
    refused(find=lambda host, port: [PUBLIC, address])
    refused(find=lambda host, port: [address, PUBLIC])


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "[::1]", "[::ffff:7f00:1]"],
)
def test_this_machine_by_its_other_names(host: str) -> None:
    """Allowed by name, and looked up for real."""
    refused(url=f"https://{host}/", hosts=(host.strip("[]"),), find=resolve)


def test_a_name_that_nobody_knows() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    assert "cannot be resolved" in refused(find=unknown)
    assert "no public address" in refused(find=lambda host, port: [])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    certificate("authority", folder)
    certificate(HOST, folder, "authority.pem")
    certificate("other.example", folder, "authority.pem")
    return folder


def trusting(folder: Path, place: Path) -> httpx2.AsyncHTTPTransport:
    return httpx2.AsyncHTTPTransport(ssl.create_default_context(cafile=folder / "authority.pem"), uds=str(place))


@pytest.fixture(scope="module")
def host(folder: Path) -> Iterator[Path]:
    with listening(folder / "host", folder / f"{HOST}.pem") as place:
        yield place


def ask(path: str, folder: Path, place: Path, patience_s: float = 30.0) -> bytes:
    return fetch(f"https://{HOST}/{path}", through=trusting(folder, place), patience_s=patience_s)


class Noting(httpx2.AsyncBaseTransport):
    """Passes requests on, and keeps them."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self.inner, self.asked = inner, list[httpx2.Request]()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:21f:cb07::1", f"::ffff:{PUBLIC}"])
def test_the_connection_goes_to_the_address_that_was_checked(address: str, folder: Path, host: Path) -> None:
    """A name server that gives another answer the second time is not asked twice."""
    answers = [[address], ["127.0.0.1"]]
    through = Noting(trusting(folder, host))
    url = f"HTTPS://{HOST.upper()}/bytes/3?q=a%20b#part"
    assert fetch(url, find=lambda *_: answers.pop(0), through=through) == bytes(3)
    assert answers == [["127.0.0.1"]]
    (request,) = through.asked
    assert ipaddress.ip_address(request.url.host) == ipaddress.ip_address(address)
    assert (request.url.scheme, request.url.port or 443, request.url.raw_path) == ("https", 443, b"/bytes/3?q=a%20b")
    assert (request.headers["host"], request.extensions["sni_hostname"]) == (HOST, HOST)


@pytest.mark.parametrize("query", ["a b", "%zz", "ä", "%00", "\r\nX: y", "'\"<>"])
def test_odd_urls_are_quoted(query: str, folder: Path, host: Path) -> None:
    assert ask(f"bytes/3?{query}", folder, host) == bytes(3)


@pytest.mark.parametrize("query", ["\ud800", "\1", "\x7f", pytest.param("a" * 70_000, id="long")])
def test_urls_that_are_none(query: str, folder: Path, host: Path) -> None:
    with pytest.raises(ApiError) as caught:
        ask(f"bytes/3?{query}", folder, host)
    assert caught.value.code == "image_url_refused"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("unending/1", "larger than 1 MiB"),
        (f"bytes/{MIB + 1}", "larger than 1 MiB"),
        *((f"status/{status}", f"answered {status}") for status in (301, 302, 307, 308, 204, 404, 500)),
        ("cut/1", "did not answer"),
        ("noise/1", "did not answer"),
    ],
)
def test_what_a_host_may_not_answer(path: str, told: str, folder: Path, host: Path) -> None:
    with pytest.raises(ApiError, match=told) as caught:
        ask(path, folder, host)
    assert (caught.value.status, caught.value.code) == (400, "image_url_refused")


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_host_that_sends_a_byte_at_a_time(part: str, folder: Path, host: Path) -> None:
    with pytest.raises(ApiError, match="is too slow"):
        ask(f"slow/{part}", folder, host, patience_s=0.5)


def test_what_a_host_packs_stays_packed(folder: Path, host: Path) -> None:
    """64 MiB in 64 KiB: it is as large as what was sent, and no picture."""
    assert ask("packed/1", folder, host)[:2] == b"\x1f\x8b"
    assert len(ask(f"bytes/{MIB}", folder, host)) == MIB


def test_certificates_are_checked(folder: Path, host: Path) -> None:
    """An authority that is not known, a certificate for another name, and one that signs itself."""
    with pytest.raises(ApiError, match="did not answer"):
        fetch(f"https://{HOST}/bytes/3", through=httpx2.AsyncHTTPTransport(uds=str(host)))
    with listening(folder / "other", folder / "other.example.pem") as place, pytest.raises(ApiError, match="did not"):
        ask("bytes/3", folder, place)
    with listening(folder / "self", certificate("self.example", folder)) as place:
        alone = httpx2.AsyncHTTPTransport(uds=str(place))
        with pytest.raises(ApiError, match="did not answer"):
            fetch_picture("https://self.example/bytes/3", ("self.example",), MIB, public, alone)
    assert ask("bytes/3", folder, host) == bytes(3)


def test_over_http(tiny: ServedModel, settings: Settings) -> None:
    for hosts, code in (((), "image_url_disabled"), (("localhost",), "image_url_refused")):
        with serve([tiny], replace(settings, image_hosts=hosts), with_worker=False) as server:
            for url in ("https://localhost/a.png", "http://169.254.169.254/latest/meta-data", "file:///etc/passwd"):
                body = {"prompt": "a", "input_reference": {"image_url": url}}
                answer = httpx2.post(f"{server.url}/v1/videos", json=body)
                assert refusal(answer) == (400, code, "input_reference")
            assert not server.files.exists()


def test_hosts_are_named_in_any_case() -> None:
    hosts = Settings(image_hosts=(HOST.upper(),)).image_hosts
    with pytest.raises(ApiError, match="has no public address"):
        fetch(hosts=hosts, find=lambda *_: ["127.0.0.1"])


def test_addresses_of_a_host() -> None:
    assert {ipaddress.ip_address(found).is_loopback for found in resolve("localhost", 443)} == {True}
