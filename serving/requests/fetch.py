"""Downloads a picture from an allowed host, protected against requests to internal addresses (SSRF)."""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from urllib.parse import SplitResult, urlsplit

import httpx2

from serving.errors import ApiError, invalid

_PARAM = "input_reference"
_TIMEOUT = httpx2.Timeout(10.0)
_PATIENCE_S = 30.0
_GLOBAL_V6 = ipaddress.ip_network("2000::/3")  # the rest of IPv6 is mapped to IPv4, local, or unassigned
# "Global" in Python 3.11's ipaddress, although the first is used inside clouds and the second tunnels to any IPv4.
_INNER = [ipaddress.ip_network(name) for name in ("192.0.0.0/24", "2002::/16")]
Resolve = Callable[[str, int], list[str]]


def resolve(host: str, port: int) -> list[str]:
    """All addresses of a host."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def fetch_picture(
    url: str,
    hosts: Sequence[str],
    max_bytes: int,
    find: Resolve = resolve,
    transport: httpx2.AsyncBaseTransport | None = None,
    patience_s: float = _PATIENCE_S,
) -> bytes:
    """The bytes of an https URL on an allowed host.

    The host is resolved once, every address must be public, and the connection goes to the resolved address, with TLS
    for the host's name. Redirects are not followed. ApiError 400 for any refusal or failure, including one that takes
    longer than ``patience_s``. Blocks; must not be called from a thread that runs an event loop.
    """
    parts = _allowed(url, hosts)
    host, port = str(parts.hostname), parts.port or 443
    try:
        addresses = find(host, port)
    except OSError:
        raise _refused(f"the host {host} cannot be resolved") from None
    if not addresses or not all(_is_public(address) for address in addresses):
        raise _refused(f"the host {host} has no public address")
    pinned = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
    target = parts._replace(netloc=f"{pinned}:{port}", fragment="").geturl()
    try:
        return asyncio.run(_get(target, host, max_bytes, transport, patience_s))
    except TimeoutError:
        raise _refused(f"{host} is too slow") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeEncodeError):
        raise _refused(f"{host} did not answer") from None


async def _get(
    target: str, host: str, max_bytes: int, transport: httpx2.AsyncBaseTransport | None, patience_s: float
) -> bytes:
    headers = {"host": host, "accept": "image/*", "accept-encoding": "identity"}
    async with (
        asyncio.timeout(patience_s),
        httpx2.AsyncClient(timeout=_TIMEOUT, follow_redirects=False, trust_env=False, transport=transport) as client,
        client.stream("GET", target, headers=headers, extensions={"sni_hostname": host}) as answer,
    ):
        if answer.status_code != 200:
            raise _refused(f"{host} answered {answer.status_code}; redirects are not followed")
        return await _collect(answer.aiter_raw(), max_bytes)  # raw: decompressed, it could have any size


async def _collect(chunks: AsyncIterator[bytes], max_bytes: int) -> bytes:
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) > max_bytes:
            raise _refused(f"the file is larger than {max_bytes >> 20} MiB")
    return bytes(data)


def _allowed(url: str, hosts: Sequence[str]) -> SplitResult:
    if not hosts:
        raise ApiError(
            400,
            "image_url_disabled",
            f"'{_PARAM}': this server does not fetch URLs; upload the file, or send it as a data: URL.",
            _PARAM,
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused("the URL is not valid") from None
    if parts.scheme != "https" or not parts.hostname or parts.username is not None or parts.password is not None:
        raise _refused("only https:// URLs without user or password are fetched")
    if parts.hostname.lower() not in hosts or port not in (None, 443):
        raise _refused(f"pictures are only fetched from {', '.join(hosts)}, on port 443")
    return parts


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or found
    if found.version == 6 and found not in _GLOBAL_V6:
        return False
    return found.is_global and not found.is_multicast and not any(found in network for network in _INNER)


def _refused(why: str) -> ApiError:
    return invalid(_PARAM, f"'{_PARAM}': {why}.", "image_url_refused")
