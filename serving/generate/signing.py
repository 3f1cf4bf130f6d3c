"""Content credentials (C2PA): a signed statement in the mp4 that a model generated it."""

from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from base.errors import InputError
from media.video_file import encode_video
from serving.settings import Settings

Sign = Callable[[bytes, Mapping[str, str]], bytes]
# IPTC's source type for generated media.
_BY_A_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def unsigned(mp4: bytes, tags: Mapping[str, str]) -> bytes:
    """The file unchanged."""
    return mp4


def open_signer(settings: Settings) -> Sign:
    """The signer of a server's videos, or ``unsigned`` without certificates. InputError if signing fails."""
    if not settings.c2pa_certificates:
        return unsigned
    try:
        import c2pa
    except ModuleNotFoundError as error:
        raise InputError(
            "--c2pa-certificates: signing needs the package c2pa-python; run pip install motif[c2pa]."
        ) from error
    certificates, key = (_read(path) for path in (settings.c2pa_certificates, settings.c2pa_key))
    facts = c2pa.C2paSignerInfo(settings.c2pa_algorithm, certificates, key, None)

    def sign(mp4: bytes, tags: Mapping[str, str]) -> bytes:
        signed = BytesIO()
        with c2pa.Signer.from_info(facts) as signer:
            c2pa.Builder(_manifest(tags)).sign(signer, "video/mp4", BytesIO(mp4), signed)
        return signed.getvalue()

    try:  # invalid certificates are only noticed when they sign
        sign(encode_video(np.zeros((1, 16, 16, 3), np.uint8), 1.0), {"model": "", "revision": ""})
    except c2pa.C2paError as error:
        raise InputError(
            f"--c2pa-certificates {settings.c2pa_certificates}: the certificates and the key cannot sign with "
            f"{settings.c2pa_algorithm} ({error}). Give a chain of X.509 signing certificates, leaf first."
        ) from error

    return sign


def _manifest(tags: Mapping[str, str]) -> dict[str, Any]:
    """The signed statement. It leaves the prompt out, which may be private: a signature cannot be withdrawn."""
    agent = {"name": tags["model"], "version": tags["revision"]}
    made = {"action": "c2pa.created", "digitalSourceType": _BY_A_MODEL, "softwareAgent": agent}
    return {
        "claim_generator_info": [{"name": "motif"}],
        "assertions": [{"label": "c2pa.actions", "data": {"actions": [made]}}],
    }


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"--c2pa: {path} cannot be read ({error.strerror}): name a PEM file.") from error
