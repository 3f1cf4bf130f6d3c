import hashlib
import pickle
from pathlib import Path

import pytest

from base.errors import WeightsError
from base.storage.folder import Folder
from base.weights import Weights, file_sha256, locate

WANTED = (("config.json",), ("model.safetensors", "model.bin"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text("{}")
    (tmp_path / "vae" / "model.bin").write_bytes(b"weights")
    return tmp_path


def test_a_local_folder(folder: Path) -> None:
    found = locate(Weights(str(folder), subfolder="vae"), WANTED, "autoencoder")
    assert [path.name for path in found.files] == ["config.json", "model.bin"]
    assert found.folder == folder / "vae"


def test_the_better_name_wins(folder: Path) -> None:
    before = locate(Weights(str(folder), subfolder="vae"), WANTED, "autoencoder")
    (folder / "vae" / "model.safetensors").write_bytes(b"others")
    after = locate(Weights(str(folder), subfolder="vae"), WANTED, "autoencoder")
    assert after.files[1].name == "model.safetensors"
    assert after.sha256 != before.sha256


def test_a_single_file(folder: Path) -> None:
    path = folder / "vae" / "model.bin"
    found = locate(Weights(str(path)), (("model.bin",),), "x")
    assert found.files == (path,)
    assert found.sha256 == hashlib.sha256(b"weights").hexdigest() == file_sha256(path)


def test_a_changed_file_has_another_hash(folder: Path) -> None:
    path = folder / "vae" / "model.bin"
    before = file_sha256(path)
    path.write_bytes(b"weights, trained on")
    assert file_sha256(path) != before


def test_a_missing_file_is_named(folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"autoencoder: .* has no config.json .*Give"):
        locate(Weights(str(folder)), WANTED, "autoencoder")


def test_a_hub_id_without_network_says_how_to_get_it() -> None:
    with pytest.raises(WeightsError, match="hf download org/none --include 'vae/\\*' --local-dir"):
        locate(Weights("org/none", subfolder="vae"), WANTED, "autoencoder")


def test_a_path_that_is_not_there() -> None:
    with pytest.raises(WeightsError, match="neither a file"):
        locate(Weights("/no/such/place"), WANTED, "autoencoder")


def test_from_s3(bucket: str) -> None:
    Folder(f"{bucket}/m/vae").write("config.json", b"{}")
    Folder(f"{bucket}/m/vae").write("model.bin", b"weights")
    found = locate(Weights(f"{bucket}/m", subfolder="vae"), WANTED, "autoencoder")
    assert found.files[1].read_bytes() == b"weights"
    with pytest.raises(WeightsError, match="has no other"):
        locate(Weights(f"{bucket}/m", subfolder="vae"), (("other",),), "autoencoder")


def test_relative_weights_travel_by_their_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another working directory "models/vae" would be taken for a hub id."""
    (tmp_path / "models" / "vae").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(pickle.dumps(Weights("models/vae"))).source == f"{tmp_path}/models/vae"
    assert pickle.loads(pickle.dumps(Weights("org/name", "main", "vae"))) == Weights("org/name", "main", "vae")
