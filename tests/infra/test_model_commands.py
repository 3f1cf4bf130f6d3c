"""``motif convert`` and ``motif fetch`` as a user meets them; the conversion itself is tested where it lives."""

from pathlib import Path

import pytest
import torch

from base.weights import BASE_MODEL
from infra.submission.project import PACKAGES
from tests.conftest import ROOT
from tests.infra.conftest import Motif


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        (["convert"], 2, "motif convert: videocrafter2 is missing"),
        (["convert", "sdxl", "model.ckpt", "out"], 2, "choose from videocrafter2"),
        (["convert", "videocrafter2", "no.ckpt", "out"], 2, "no.ckpt: there is no such file"),
        (["convert", "videocrafter2", "other.ckpt", "out"], 2, "is not VideoCrafter2's checkpoint"),
        (["convert", "videocrafter2", "other.ckpt", "used"], 2, "used exists and is not empty"),
        (["convert", "videocrafter2", "other.ckpt", "other.ckpt/out"], 4, "a part of the path is a file"),
        (["fetch"], 2, "motif fetch: videocrafter2|sam2|ti2v-bench is missing"),
        (["fetch", "sdxl"], 2, "choose from videocrafter2, sam2, ti2v-bench"),
        (["fetch", "sam2", "--out", "used"], 2, "used exists and is not empty"),
        (["fetch", "sam2", "--out", "out"], 2, "hf download facebook/sam2.1-hiera-large"),
        (["fetch", "videocrafter2", "--out", "used"], 2, "used exists and is not empty"),
        (["fetch", "videocrafter2", "--out", "out"], 2, "`motif convert videocrafter2 model.ckpt out`"),
        (["fetch", "ti2v-bench", "--out", "used"], 2, "used exists and is not empty"),
        (["fetch", "ti2v-bench", "--out", "out"], 2, "`hf download wang-sj16/TI2V-Bench --repo-type dataset"),
    ],
)
def test_a_mistake_gets_one_line(
    motif: Motif, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], status: int, said: str
) -> None:
    """The last one without network. The hub's library reads the environment when it is imported: set it there, too."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    torch.save({"conv_in.weight": torch.zeros(3)}, "other.ckpt")
    Path("used").mkdir()
    Path("used/file").touch()
    found, out, error = motif(*args)
    *progress, line = error.strip().splitlines()
    assert (found, out) == (status, "")
    assert line.startswith("motif: ")
    assert said in line
    assert all(told.endswith("...") for told in progress)
    assert not Path("out").exists()


def test_help(motif: Motif) -> None:
    for name in ("convert", "fetch"):
        status, out, _ = motif(name, "--help")
        assert status == 0
        assert "videocrafter2" in out


def test_the_base_model_is_no_part_of_the_sources() -> None:
    """In a checkout, where the README's commands are run, its folder is new, ignored by git and not sent with jobs."""
    folder = Path(BASE_MODEL).parts[0]
    assert folder not in PACKAGES
    assert f"/{folder}/" in (ROOT / ".gitignore").read_text().splitlines()
