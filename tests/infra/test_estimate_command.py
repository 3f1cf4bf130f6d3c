"""`motif estimate`: what it adds up, where its figures come from, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from base.errors import InputError
from base.gpus import GPUS, Cost
from infra.estimate import measured
from infra.estimate.prices import OURS, read_prices
from infra.estimate.rows import counted_hours
from pipeline.featurizers.heatmaps import Heatmaps
from pipeline.motion.raft import Raft
from pipeline.recipes import Preprocess
from tests.conftest import ROOT
from tests.infra.conftest import Motif
from tests.pipeline.conftest import SMALL
from training.options import Hardware, Saves
from training.recipes import Train
from training.recipes import sprites as train_sprites

PRICES = {"source": "mine", "currency": "EUR", "gpu_hour": {"H100": 2.0}, "cpu_hour": 0.5, "gb_month": 0.25}
TINY_RAFT = Raft("small", updates=2, clips_a_batch=1)


def flow_on_a_gpu() -> Preprocess:
    """A recipe of one's own whose flow is a network."""
    return replace(SMALL, features=SMALL.features | {"heatmaps": Heatmaps(TINY_RAFT, both_ways=True, cell=16)})


def half_precision() -> Train:
    """A small run for GPUs."""
    hardware = Hardware(workers=2, micro_batch=1)
    return replace(train_sprites(), steps=100, hardware=hardware, saves=Saves(every=60, keep=3))


def estimate(motif: Motif, *args: object) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The rows of an estimate by what they are of, and all of it."""
    status, out, error = motif("estimate", *args, "--json")
    assert status == 0, error
    found = json.loads(out)
    return {f"{row['part']} {row['what']}": row for row in found["rows"]}, found


@pytest.mark.parametrize("figure", measured.ALL, ids=lambda figure: ".".join((figure.result, *figure.keys)))
def test_measured_figures_are_those_of_the_benchmarks(figure: measured.Measured) -> None:
    """If a benchmark was run again, change infra/estimate/measured.py."""
    found = json.loads((ROOT / f"benchmarks/results/{figure.result}.json").read_text())
    for key in figure.keys:
        found = found[key]
    assert figure.value == found


def test_the_toy_recipe_is_measured_as_a_whole(motif: Motif, tmp_path: Path) -> None:
    (tmp_path / "prices.json").write_text(json.dumps(PRICES))
    rows, found = estimate(motif, "sprites", "--clips", "5e6", "--prices", tmp_path / "prices.json")
    graph = rows["preprocess decode, features, write"]
    assert graph["amount"] == pytest.approx(2 * 5e6 / measured.SPRITES_CLIPS_PER_S.value / 3600)
    assert graph["price"] == pytest.approx(graph["amount"] * 0.5)
    assert graph["how"] == (
        "measured on two CPU cores (the whole graph with this recipe), benchmarks/results/graph.json"
    )
    assert rows["train 200 steps"]["amount"] == pytest.approx(2 * 200 * measured.SPRITES_STEP_S.value / 3600)
    assert rows["dataset latents"]["amount"] == pytest.approx(5e6 * 16**4 * 2 / 1e9)  # c t h w of float16
    assert rows["preprocess list and probe"]["amount"] is None
    memory = rows["preprocess plan, the driver"]
    assert 2 * measured.PLAN_MB[1_000_000].value < 1000 * memory["amount"] < 5 * measured.PLAN_MB[1_000_000].value
    assert "5 times as many are extrapolated" in memory["how"]
    for row in found["rows"]:
        assert row["how"].startswith(("measured", "counted", "not known")), row
        assert (row["amount"] is None) == row["how"].startswith("not known"), row
    sums = {total["unit"]: total for total in found["totals"]}
    assert set(sums) == {"CPU-hours", "GB"}
    for unit, total in sums.items():
        known = [row for row in found["rows"] if row["unit"] == unit and row["amount"] is not None]
        assert total["amount"] == pytest.approx(sum(row["amount"] for row in known))
        assert total["price"] == pytest.approx(sum(row["price"] for row in known))
    assert (sums["CPU-hours"]["complete"], sums["GB"]["complete"]) == (False, True)


def test_the_table_is_on_stdout(motif: Motif, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")  # otherwise that of the terminal, if there is one
    status, out, _ = motif("estimate", f"{__name__}:flow_on_a_gpu", "--clips", "1e9")
    assert status == 0
    assert "flow_on_a_gpu: 1,000,000,000 clips, H100" in out
    assert "7,111 CPU-hours" in out  # Ray Data
    assert "counted: 16,384 bytes per clip by shapes" in out
    assert "not known: it depends on the videos" in out
    assert "cores for each GPU" in out
    assert "not checked" in out  # the prices


def test_networks_are_counted(motif: Motif, tmp_path: Path) -> None:
    rows, found = estimate(motif, f"{__name__}:flow_on_a_gpu", "--clips", 1000, "--utilisation", 0.5)
    cost = TINY_RAFT.cost(9, 128, 128)
    gpu = GPUS["H100"]
    seconds = max(cost.flops / gpu.flops / 0.5, cost.moved / gpu.bandwidth)
    assert rows["preprocess heatmaps"]["amount"] == pytest.approx(2 * 1000 * seconds / 3600)  # both ways
    assert rows["preprocess heatmaps"]["unit"] == "GPU-hours"
    assert rows["preprocess decode"]["amount"] == pytest.approx(measured.DECODE_MS.value / 3600)
    assert rows["preprocess latents"]["how"].startswith("not known: computed on CPUs")
    assert not any(row["part"] == "train" for row in found["rows"])


def test_a_run_on_gpus_is_counted(motif: Motif) -> None:
    rows, _ = estimate(motif, f"{__name__}:half_precision", "--gpu", "L4")
    steps = rows["train 100 steps of 4 clips"]
    assert "TFLOP per step and GPU at 40 % of 121 TFLOP/s" in steps["how"]
    assert "h on 2 GPUs" in steps["how"]
    assert steps["price"] == pytest.approx(steps["amount"] * read_prices(OURS).gpu_hour["L4"])
    assert rows["train checkpoints"]["how"].startswith("counted: the last 2,")
    assert not any(row["part"] == "preprocess" for row in rows.values())


@pytest.mark.slow
def test_the_papers_recipe(motif: Motif, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside an independent count of the same networks for an H100: 3.4, 11 and 403 TFLOP."""
    monkeypatch.setenv("COLUMNS", "122")
    status, out, _ = motif("estimate", "motif", "--clips", "1e6", "--gpu", "H100")
    assert status == 0
    assert "11 TFLOP per clip" in out
    assert "403 TFLOP per step" in out
    assert Raft().cost(17, 320, 512).flops == pytest.approx(3.4e12, rel=0.02)
    lines = [line.rstrip() for line in out.splitlines()]
    assert "\n".join(lines) in (ROOT / "docs/scale.md").read_text()
    rows, _ = estimate(motif, "one_gpu", "--gpu", "L4")
    assert "does not fit the memory of L4" in rows["train 32,000 steps of 64 clips"]["how"]


def test_the_slower_of_computing_and_moving_counts() -> None:
    gpu = GPUS["A100"]
    hours, how = counted_hours(Cost(312e12, 0, "bfloat16"), gpu, 0.5, "clip")
    assert hours == pytest.approx(2 / 3600)
    assert how == "counted: 312 TFLOP per clip at 50 % of 312 TFLOP/s"
    hours, how = counted_hours(Cost(312e12, 6 * 2.04e12, "float16"), gpu, 0.5, "clip")
    assert hours == pytest.approx(6 / 3600)
    assert how == "counted: 12,240 GB through memory per clip at 2.04 TB/s"
    assert counted_hours(Cost(1e12, 1, "float32"), gpu, 0.5, "clip")[0] is None
    unknown = "not known: 1 TFLOP per step in bfloat16, for which no speed of T4 is listed"
    assert counted_hours(Cost(1e12, 1, "bfloat16"), GPUS["T4"], 0.5, "step") == (None, unknown)


def test_the_bytes_of_an_artifact_are_those_in_its_files(sprites_dataset: Path) -> None:
    """Before compression; Parquet adds an offset for each tensor, and headers of its pages."""
    for name, feature in SMALL.features.items():
        columns = [column.name for column in feature.columns(SMALL.shape)]
        counted = sum(column.nbytes for column in feature.columns(SMALL.shape))
        rows = stored = 0
        for path in (sprites_dataset / name).glob("*.parquet"):
            metadata = pq.ParquetFile(path).metadata
            rows += metadata.num_rows
            for group in map(metadata.row_group, range(metadata.num_row_groups)):
                chunks = map(group.column, range(group.num_columns))
                stored += sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in columns)
        assert rows >= 8
        assert rows * counted <= stored < 1.1 * rows * counted, name


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["motiv"], "recipe 'motiv' does not exist. Did you mean motif?"),
        (["nowhere:mine"], "recipe 'nowhere:mine' cannot be loaded: No module named 'nowhere'"),
        (["builtins:list"], "recipe 'builtins:list' returns list: must return pipeline.recipes.Preprocess or training"),
        (["--gpu", "H10"], "--gpu H10: must be one of A100, H100"),
        (["--clips", "-5"], "--clips -5: must be a whole number of at least 1"),
        (["--clips", "1.5"], "--clips 1.5: must be a whole number"),
        (["--clips", "nan"], "--clips nan: must be a whole number"),
        (["--utilisation", "40"], "--utilisation 40: must be a share above 0"),
        (["--prices", "no.json"], "--prices no.json cannot be read"),
    ],
)
def test_mistakes_get_one_sentence(motif: Motif, args: list[str], said: str) -> None:
    status, out, error = motif("estimate", *args)
    assert (status, out) == (2, "")
    assert error.startswith(f"motif: {said}"), error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "the file: invalid JSON"),
        (json.dumps({**PRICES, "cpu_hour": -1}), "cpu_hour: input should be greater than or equal to 0"),
        (json.dumps({**PRICES, "cpu_hour": "dear"}), "cpu_hour: input should be a valid number"),
        (json.dumps({**PRICES, "gpu_hour": {"H100": None}}), "gpu_hour.H100: input should be a valid number"),
        (json.dumps({**PRICES, "cpu_hours": 1}), "cpu_hours: extra inputs are not permitted"),
        (json.dumps({key: value for key, value in PRICES.items() if key != "source"}), "source: field required"),
    ],
)
def test_a_price_file_that_is_none(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "prices.json").write_text(text)
    with pytest.raises(InputError, match=r"--prices .*prices\.json: ") as caught:
        read_prices(tmp_path / "prices.json")
    assert said in str(caught.value)


def test_a_gpu_without_a_price_has_hours(motif: Motif) -> None:
    rows, _ = estimate(motif, f"{__name__}:flow_on_a_gpu", "--gpu", "4090")
    assert rows["preprocess heatmaps"]["amount"] > 0
    assert rows["preprocess heatmaps"]["price"] is None


def test_our_own_prices_say_what_they_are() -> None:
    prices = read_prices(OURS)
    assert "not checked" in prices.source
    assert set(prices.gpu_hour) == set(GPUS) - {"4090"}
