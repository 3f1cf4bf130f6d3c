"""The settings of a server except its models."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from base.errors import InputError
from base.storage.uri import is_remote, local_path


@dataclass(frozen=True)
class Settings:
    """How a server stores jobs and what it accepts."""

    folder: str = "served"
    """Where pictures and videos are stored; a local folder or s3://."""
    database: str = ""
    """Where jobs are stored, as an SQLAlchemy URL; by default an SQLite file in the folder. Several nodes need a shared
    one, such as postgresql+psycopg://USER@HOST/NAME, with its password in PGPASSWORD or a .pgpass file."""
    queue: int = 64
    """Largest number of waiting jobs; more are refused with 429."""
    batch: int = 4
    """Jobs of the same shape that are sampled together."""
    keep_hours: float = 24.0
    """How long a finished job is kept."""
    body_mib: int = 32
    """The largest request body, in MiB."""
    megapixels: int = 40
    """The largest picture, in megapixels."""
    sync_seconds: float = 600.0
    """How long POST /v1/videos/sync waits before it answers 504."""
    key_hashes: tuple[str, ...] = ()
    """SHA-256 hashes of the accepted bearer keys; none: no key is required. --keys reads the keys themselves."""
    hosts: tuple[str, ...] = ()
    """Host names under which the server answers; none: any."""
    origins: tuple[str, ...] = ()
    """Web origins, besides the server's own, whose pages may call it."""
    image_hosts: tuple[str, ...] = ()
    """Hosts from which pictures may be downloaded by https URL; none: only uploads and data: URLs."""
    c2pa_certificates: str = ""
    """A PEM file with a chain of certificates: videos then carry content credentials (C2PA), signed with --c2pa-key."""
    c2pa_key: str = ""
    """A PEM file with the private key."""
    c2pa_algorithm: str = "es256"

    def __post_init__(self) -> None:
        """Check the settings."""
        if bool(self.c2pa_certificates) != bool(self.c2pa_key):
            raise ValueError("c2pa_certificates, c2pa_key: give both or neither")
        for name in ("queue", "batch", "keep_hours", "body_mib", "megapixels", "sync_seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} {getattr(self, name)}: must be above 0")
        for name in ("hosts", "origins", "image_hosts"):  # browsers and URLs use lower case
            object.__setattr__(self, name, tuple(host.lower() for host in getattr(self, name)))
        if is_remote(self.folder) and not self.database:
            raise ValueError(
                f"folder {self.folder}: jobs cannot be stored in an object store; give a database as well, "
                "such as sqlite:////var/lib/motif/jobs.sqlite or postgresql+psycopg://HOST/NAME"
            )

    @property
    def database_url(self) -> str:
        """The database URL, with the default filled in."""
        return self.database or f"sqlite:///{local_path(self.folder) / 'jobs.sqlite'}"


@dataclass(frozen=True)
class Compute:
    """The device and precision of a worker."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the network; bfloat16 halves its memory and is several times faster on a GPU."""
    decoding: Literal["float32", "bfloat16"] = "float32"
    """Precision of the autoencoder's decoder; docs/serving.md says how far bfloat16 changes frames."""
    kernels: Literal["usual", "fast"] = "usual"
    """On a GPU, fast allows TF32 and has cuDNN choose its kernels by time, so the last digits may change."""
    compile: bool = False
    """Compile the network: the first video takes minutes longer, later ones are faster."""
    loaded: int = 1
    """Models that a worker keeps loaded."""

    def __post_init__(self) -> None:
        """Check the values."""
        if self.loaded < 1:
            raise ValueError(f"loaded {self.loaded}: must be at least 1")


def key_hash(key: str) -> str:
    """The stored hash of a bearer key, also the owner of the jobs created with it."""
    return hashlib.sha256(key.encode()).hexdigest()


def read_keys(path: Path) -> tuple[str, ...]:
    """Hashes of the keys in a file, one per line; empty lines and lines that start with # are ignored."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--keys {path} cannot be read ({error}): give a text file with one key per line.") from error
    keys = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    if not keys:
        raise InputError(f"--keys {path} has no keys: write one per line, such as output of `openssl rand -hex 24`.")
    if short := next((number for number, key in enumerate(keys, 1) if len(key) < 16), None):
        raise InputError(f"--keys {path}: key {short} has under 16 characters and could be guessed: use a longer one.")
    return tuple(key_hash(key) for key in keys)
