"""A picture from its URL, without being led to where the caller could not go: hosts are allowed by name."""

import ipaddress
import socket
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import SplitResult, urlsplit

import httpx2

from serving.errors import ApiError, invalid

_PARAM = "input_reference"
_TIMEOUT = httpx2.Timeout(10.0)
Resolve = Callable[[str, int], list[str]]


def resolve(host: str, port: int) -> list[str]:
    """All addresses of a host."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def fetch_picture(
    url: str,
    hosts: Sequence[str],
    max_bytes: int,
    find: Resolve = resolve,
    transport: httpx2.BaseTransport | None = None,
) -> bytes:
    """The bytes behind an https URL of an allowed host.

    The host's name is resolved once, every address must be public, and the connection goes to that very address, with
    the certificate of the name. No redirect is followed. ApiError 400 for all that is refused or fails.
    """
    parts = _allowed(url, hosts)
    host, port = str(parts.hostname), parts.port or 443
    try:
        addresses = find(host, port)
    except OSError:
        raise _refused(f"the host {host} is not known") from None
    if not addresses or not all(_is_public(address) for address in addresses):
        raise _refused(f"the host {host} has no public address")
    pinned = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
    target = parts._replace(netloc=f"{pinned}:{port}", fragment="").geturl()
    try:
        with (
            httpx2.Client(timeout=_TIMEOUT, follow_redirects=False, trust_env=False, transport=transport) as client,
            client.stream("GET", target, headers={"host": host}, extensions={"sni_hostname": host}) as answer,
        ):
            if answer.status_code != 200:
                raise _refused(f"{host} answered {answer.status_code}; redirects are not followed")
            return _collect(answer.iter_bytes(), max_bytes)
    except (httpx2.HTTPError, httpx2.InvalidURL):
        raise _refused(f"{host} did not answer") from None


def _collect(chunks: Iterator[bytes], max_bytes: int) -> bytes:
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > max_bytes:
            raise _refused(f"the file is larger than {max_bytes >> 20} MiB")
    return bytes(data)


def _allowed(url: str, hosts: Sequence[str]) -> SplitResult:
    if not hosts:
        raise ApiError(
            400,
            "image_url_disabled",
            f"'{_PARAM}': this server fetches no URLs; upload the file, or send it as a data: URL.",
            _PARAM,
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused("this is no URL") from None
    if parts.scheme != "https" or not parts.hostname or parts.username is not None or parts.password is not None:
        raise _refused("https:// URLs alone are fetched, without a user in them")
    if parts.hostname.lower() not in hosts or port not in (None, 443):
        raise _refused(f"pictures are fetched from {', '.join(hosts)} alone, on port 443")
    return parts


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    found = mapped or found
    return found.is_global and not found.is_multicast


def _refused(why: str) -> ApiError:
    return invalid(_PARAM, f"'{_PARAM}': {why}.", "image_url_refused")
