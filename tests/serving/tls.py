"""A host of pictures behind TLS, on a socket file, and certificates for it."""

import datetime
import gzip
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

MIB = 1 << 20
NOW = datetime.datetime.now(datetime.UTC)


def certificate(name: str, folder: Path, signed_by: str = "") -> Path:
    """A key and its certificate in one file, signed by another such file or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    signer = key
    if signed_by:
        data = (folder / signed_by).read_bytes()
        loaded = serialization.load_pem_private_key(data, None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        issuer, signer = x509.load_pem_x509_certificate(data).subject, loaded
    made = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(NOW - datetime.timedelta(1)).not_valid_after(NOW + datetime.timedelta(1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=not signed_by, path_length=None), critical=True)
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    path = folder / f"{name}.pem"
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(*form) + made.sign(signer, hashes.SHA256()).public_bytes(form[0]))
    return path


class Pictures(BaseHTTPRequestHandler):
    """A host whose paths say how it behaves."""

    stop = threading.Event()

    def do_GET(self) -> None:
        answer, _, fact = self.path[1:].partition("?")[0].partition("/")
        getattr(self, f"answer_{answer}")(fact)

    def answer_bytes(self, count: str) -> None:
        self._head(200, {"content-length": count})
        self.wfile.write(bytes(int(count)))

    def answer_unending(self, _: str) -> None:
        self._head(200, {})
        while not self.stop.is_set():
            self.wfile.write(bytes(1 << 16))

    def answer_packed(self, _: str) -> None:
        data = gzip.compress(bytes(64 * MIB))
        self._head(200, {"content-length": str(len(data)), "content-encoding": "gzip"})
        self.wfile.write(data)

    def answer_status(self, status: str) -> None:
        self._head(int(status), {"location": "https://127.0.0.1/", "content-length": "0"})

    def answer_slow(self, part: str) -> None:
        if part == "body":
            self._head(200, {"content-length": "100000"})
        while not self.stop.wait(0.02):
            self.wfile.write(b"a")

    def answer_cut(self, _: str) -> None:
        self._head(200, {"content-length": "100"})
        self.wfile.write(b"few")

    def answer_noise(self, _: str) -> None:
        self.wfile.write(b"\0\1\2\3\r\n\r\n" * 100)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.close_connection = True
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


class Listening(ThreadingMixIn, UnixStreamServer):
    """TLS on a socket file, where a transport finds it under any address."""

    def __init__(self, place: Path, certificate: Path) -> None:
        super().__init__(str(place), Pictures)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)

    def finish_request(self, request: Any, client_address: object) -> None:
        with self.context.wrap_socket(request, server_side=True) as secured:
            Pictures(secured, ("", 0), self)

    def handle_error(self, request: object, client_address: object) -> None:
        """Those who hang up are what is tested here."""


@contextmanager
def listening(place: Path, certificate: Path) -> Iterator[Path]:
    Pictures.stop.clear()
    server = Listening(place, certificate)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield place
    finally:
        Pictures.stop.set()
        server.shutdown()
        thread.join()
        server.server_close()
