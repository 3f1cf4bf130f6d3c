"""Content credentials: a signed video says what made it, and one byte changed is found out."""

import datetime
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import c2pa
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from base.errors import InputError
from base.storage.folder import Folder
from serving.generate.files import Files
from serving.generate.signing import open_signer, unsigned
from serving.settings import Settings

TOLD = {"model": "tiny", "revision": "0123", "prompt": "a secret"}
PEM = serialization.Encoding.PEM


def certificate(subject: str, key: ec.EllipticCurvePrivateKey, signed_by: ec.EllipticCurvePrivateKey) -> bytes:
    """An X.509 certificate as C2PA asks for it: an authority's where it signs itself, else one for signing."""
    authority = key is signed_by
    named = [x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)]) for name in (subject, "authority")]
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(not authority, False, False, False, False, authority, authority, False, False)
    builder = (
        x509.CertificateBuilder(named[1], named[0], key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signed_by.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if not authority:
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purposes, critical=False)
    return builder.sign(signed_by, hashes.SHA256()).public_bytes(PEM)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("keys")
    authority, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    chain = certificate("motif test", own, authority) + certificate("authority", authority, authority)
    (folder / "chain.pem").write_bytes(chain)
    private = own.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    return Settings(c2pa_certificates=str(folder / "chain.pem"), c2pa_key=str(folder / "key.pem"))


def signed_video(settings: Settings, tmp_path: Path) -> bytes:
    files = Files(Folder(str(tmp_path)), open_signer(settings))
    files.keep_video("v", np.full((3, 32, 64, 3), 128, np.uint8), 8.0, TOLD)
    return files.read("v", "video")


def test_a_signed_video_says_what_made_it(settings: Settings, tmp_path: Path) -> None:
    video = signed_video(settings, tmp_path)
    reader = c2pa.Reader("video/mp4", BytesIO(video))
    assert reader.get_validation_state() in ("Valid", "Trusted")
    told = reader.json()
    assert "trainedAlgorithmicMedia" in told
    assert "tiny" in told
    assert "a secret" not in told


def test_a_changed_video_is_found_out(settings: Settings, tmp_path: Path) -> None:
    video = bytearray(signed_video(settings, tmp_path))
    video[-10] ^= 1
    assert c2pa.Reader("video/mp4", BytesIO(bytes(video))).get_validation_state() == "Invalid"


def test_without_certificates_nothing_is_signed() -> None:
    assert open_signer(Settings()) is unsigned


def test_what_cannot_sign(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "broken.pem").write_text("nothing")
    with pytest.raises(InputError, match=r"cannot sign with es256 .* leaf first"):
        open_signer(replace(settings, c2pa_certificates=str(tmp_path / "broken.pem")))
    with pytest.raises(InputError, match="cannot be read"):
        open_signer(replace(settings, c2pa_key=str(tmp_path / "none.pem")))
    with pytest.raises(ValueError, match="both or neither"):
        Settings(c2pa_key="key.pem")
