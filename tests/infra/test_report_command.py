"""`motif report` on real runs and results: what the page shows is what their own files say."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from base.storage.folder import Folder
from infra import cli
from pipeline.sprites.files import write_sprites
from pipeline.sprites.world import World
from tests.evaluation.report.reading import Page, decoded
from tests.evaluation.report.runs import (
    SHAPE,
    metrics_of,
    write_data,
    write_plain,
    write_run,
    write_samples,
    write_votes,
)
from tests.evaluation.study.simulated import Crowd, make_study, simulate
from tests.infra.conftest import Motif
from tests.training.datasets import Toy, write_toy

EVIL = '<script>document.title="owned"</script><img src=x onerror=alert(1)> & $title'
PLAYED = """new Promise(done => {
  const video = document.querySelector('#samples video');
  const look = () => video.currentTime > 0 ? done() : requestAnimationFrame(look);
  look();
})"""
LOSS = "loss in mask / loss overall, v-prediction"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs ``motif`` and ``plain``, and results of all commands; ``motif`` has its own in its folder, too."""
    room = tmp_path_factory.mktemp("room")
    data = write_data(room)
    write_run(data, room / "motif")
    write_plain(data, room / "plain")
    held = write_toy(Folder(str(room / "held")), Toy(clips=4, shape=SHAPE, first=100, still=frozenset({101})))
    write_sprites(room / "pairs", World(64, 64, kinds=("moves",), clear=True), 4, 2, 2)
    write_samples(room / "a", {"one": EVIL, "two": "it moves", "three": "only here"})
    write_samples(room / "b", {"one": EVIL, "two": "it moves"})
    (room / "prompts.csv").write_text("name,prompt\none,x\ntwo,y\n")
    study = make_study(pairs=20, scenes=5)
    (room / "study").mkdir()
    study.save(room / "study")
    votes = write_votes(room / "votes.csv", simulate(study, 0.8, Crowd(), 0))
    how = ("--data", held.uri, "--timesteps", 100, 500, 900, "--resamples", 50, "--device", "cpu")
    both = (room / "motif", room / "plain")
    scored = ("--pairs", room / "pairs", "--steps", 2, "--device", "cpu")
    (room / "c").mkdir()
    for name in ("one", "two"):
        shutil.copy(room / "a" / f"{name}.mp4", room / "c")
    for args in (
        ("validate", *both, *how, "--out", room / "validation"),
        ("validate", both[0], *how, "--out", room / "motif" / "validation"),
        ("evaluate", "sprites", *both, *scored, "--out", room / "scores"),
        ("evaluate", "sprites", both[0], *scored, "--out", room / "motif" / "sprites"),
        ("metrics", room / "b", "--prompts", room / "prompts.csv", "--out", room / "b.json"),
        ("metrics", room / "c", "--prompts", room / "prompts.csv", "--out", room / "c.json"),
        ("study", "score", room / "study", votes, "--out", room / "score.json"),
    ):
        assert cli.run([str(word) for word in args]) == 0, args
    return room


def results(room: Path) -> tuple[object, ...]:
    places = {
        "validation": ["validation"],
        "sprites": ["scores"],
        "metrics": ["b.json", "c.json"],
        "study": ["score.json"],
    }
    places["samples"] = ["a", "b"]
    return tuple(word for name, some in places.items() for word in (f"--{name}", *(room / place for place in some)))


@pytest.fixture
def compared(motif: Motif, room: Path, tmp_path: Path) -> Page:
    out = tmp_path / "pages" / "report.html"
    status, told, error = motif("report", room / "motif", room / "plain", *results(room), "--out", out)
    assert (status, told) == (0, f"{out}\n"), error
    assert "missing" not in error
    return Page(out.read_text())


def test_curves_are_those_of_the_files(compared: Page, room: Path) -> None:
    part = compared.parts["curves"]
    assert list(part.charts) == [
        "loss",
        "loss term: plain",
        "loss term: motion",
        "gradient norm, before clipping",
        "learning rate",
        "seconds a step",
        "of these, waiting for data",
    ]
    for title, name in (("loss", "loss"), ("loss term: motion", "motion"), ("learning rate", "lr")):
        lines = part.charts[title].lines["line"]
        for line, run in zip(lines, ("motif", "plain"), strict=True):
            found = metrics_of(room / run)
            assert np.allclose(line[:, 0], [step["step"] + 1 for step in found], atol=0.02)
            spread = max(abs(step[name]) for step in found)
            assert np.allclose(line[:, 1], [step[name] for step in found], atol=0.01 * spread)
    firsts = [f"{metrics_of(room / run)[0]['loss']:.4g}" for run in ("motif", "plain")]
    lasts = [f"{metrics_of(room / run)[-1]['loss']:.4g}" for run in ("motif", "plain")]
    assert part.row("loss") == [f"{first} to {last}" for first, last in zip(firsts, lasts, strict=True)]
    assert compared.parts[""].row("loss of the last step") == lasts
    medians = [np.median([step["seconds"] for step in metrics_of(room / run)]) for run in ("motif", "plain")]
    assert [float(cell) for cell in part.row("seconds a step")] == pytest.approx(medians, rel=0.01)
    assert part.row("losses of single steps") == ["", "differ from step 1 on"]
    assert any("losses cannot be compared; the term plain" in text for text in part.texts)


def test_runs_and_their_differences(compared: Page, room: Path) -> None:
    part = compared.parts["settings"]
    config = json.loads((room / "motif" / "config.json").read_text())
    launch = json.loads((room / "motif" / "launches.jsonl").read_text())
    assert part.row("steps") == ["4 of 4, 4 clips each"] * 2
    assert part.row("dataset") == [f"{config['data']['0']['uri']}, 8 clips"] * 2
    assert part.row("seed") == [str(config["config"]["seed"])] * 2
    assert launch["software"]["torch"] in part.row("software")[0]
    assert part.row("commit")[0] == launch["software"]["commit"]
    assert part.tables[1] == [["setting", "motif", "plain"], ["loss.weight", "1.0", "0.0"]]
    assert part.commands == ["motif train toy --out motif", "motif train toy --out plain"]
    assert part.row("loss")[1].startswith("plain (without motion); motion-focal (weight 0.0")
    assert part.row("parameters")[0] == f"{parameters(room / 'motif'):,}"


def parameters(run: Path) -> int:
    """Counted from the header of the weights' file, whose format is simple."""
    data = next((run / "checkpoints" / "step-00000004" / "model").glob("*/*.safetensors")).read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return sum(int(np.prod(one["shape"])) for name, one in header.items() if name != "__metadata__")


def test_figure_6_is_that_of_the_result(compared: Page, room: Path) -> None:
    part = compared.parts["validation"]
    found = json.loads((room / "validation" / "validation.json").read_text())
    ratio, difference = part.charts[LOSS], part.charts["ratio minus that of motif"]
    for line, area, run in zip(ratio.lines["line"], ratio.areas, found["runs"], strict=True):
        assert np.allclose(line[:, 0], [100, 500, 900], atol=2)
        for shown, end in ((line, "value"), (area[:3], "low"), (area[3:][::-1], "high")):
            assert np.allclose(shown[:, 1], [one["ratio"][end] for one in run["by_timestep"]], atol=0.02)
    (line,) = difference.lines["line"]
    assert np.allclose(line[:, 1], [one["difference"]["value"] for one in found["runs"][1]["by_timestep"]], atol=0.02)
    mean = found["runs"][1]["difference"]
    assert part.row("mean")[2] == f"{mean['value']:+.2f} [{mean['low']:+.2f}, {mean['high']:+.2f}]"
    assert part.tables[0][0] == ["timestep", "motif, step 4", "plain, step 4", "minus motif"]
    assert found["clips_without_mask"] == 1
    assert part.commands == [found["command"]]
    assert found["command"].startswith(f"motif validate {room / 'motif'} {room / 'plain'} --data")
    assert len(compared.parts[""].row("loss in moving regions / overall")) == 2


def test_scores_are_those_of_the_results(compared: Page, room: Path) -> None:
    part = compared.parts["sprites"]
    found = json.loads((room / "scores" / "evaluation.json").read_text())
    assert part.tables[0][0] == ["", "ground truth", "static", "random direction", "motif, step 4", "plain, step 4"]
    errors = [row["summary"]["error"] for row in (*found["controls"], *found["models"])]
    assert part.row("displacement error") == [
        f"{100 * one['value']:.1f} ({100 * one['low']:.1f}, {100 * one['high']:.1f})" for one in errors
    ]
    assert part.commands == [found["command"]]
    rights = [row["summary"]["right"]["value"] for row in found["models"]]
    shown = compared.parts[""].row("right videos of sprites, per cent")
    assert [float(cell.split()[0]) for cell in shown] == [100 * value for value in rights]


def test_metrics_and_study_are_those_of_the_results(compared: Page, room: Path) -> None:
    part = compared.parts["metrics"]
    one, two = (json.loads((room / name).read_text()) for name in ("b.json", "c.json"))
    cells = part.row("temporal_flickering")
    for at, found in ((1, one), (4, two)):
        row = found["metrics"]["temporal_flickering"]
        mean = row["videos"]
        assert cells[at] == f"{mean['value']:.3f} [{mean['low']:.3f}, {mean['high']:.3f}]"
        assert cells[at + 1] == f"{row['static']['value']:.3f}"
    assert part.row("fvd") == ["--i3d is not given"] * 2
    assert part.commands == [one["command"], two["command"]]
    score = json.loads((room / "score.json").read_text())
    study = compared.parts["study"]
    preference = score["result"]["preference"]
    shares = [f"{100 * preference[end]:.1f}" for end in ("value", "low", "high")]
    assert study.row("votes for ours")[0] == f"{shares[0]} % [{shares[1]}, {shares[2]}]"
    assert any(text.startswith(f"Raters prefer ours to baseline in {shares[0]} %") for text in compared.parts[""].texts)
    excluded = [rater for rater in score["raters"] if rater["excluded"]]
    assert f"{len(excluded)} of {len(score['raters'])} raters excluded" in study.texts
    everything = json.dumps([study.texts, study.tables])
    assert not [rater["name"] for rater in score["raters"] if rater["name"] in everything]


def test_samples_are_side_by_side(compared: Page, room: Path) -> None:
    part = compared.parts["samples"]
    assert [title for title, _ in part.videos] == ["a", "b", "a", "b", "a"]
    _, frames, rate = decoded(part.videos[0][1])
    assert (frames.shape, rate) == ((6, 32, 48, 3), 8)
    assert np.abs(frames[:, 0, 0, 0].astype(int) - np.linspace(0, 255, 6)).max() < 8
    trained = compared.parts["training_samples"]
    assert [title for title, _ in trained.videos] == ["motif, step 4", "plain, step 4"] * 2
    prompts = json.loads((room / "motif/samples/step-00000004/prompts.json").read_text())["samples"]
    assert [one["prompt"] for one in prompts] == [text for text in trained.texts if text.startswith("square")]
    scored = compared.parts["sprites_samples"]
    verdicts = json.loads((room / "scores/motif/scores.json").read_text())["videos"]
    right = [one["score"]["object_right"] and one["score"]["direction_right"] for one in verdicts]
    titles = [title for title, _ in scored.videos]
    assert titles[::3] == ["ground truth"] * 4
    assert titles[1::3] == [f"motif{'right' if one else 'wrong'}" for one in right]


def test_the_page_needs_nothing_else_and_text_stays_text(compared: Page) -> None:
    assert {place.split(",")[0].split(";")[0] for place in compared.places if not place.startswith("#")} == {
        "data:image/jpeg",
        "data:video/mp4",
    }
    assert compared.tags.count("script") == 1
    assert "img" not in compared.tags
    assert not [name for name in compared.attributes if name.startswith("on")]
    assert EVIL in compared.parts["samples"].texts


def test_one_run_with_results_in_its_folder(motif: Motif, room: Path, tmp_path: Path) -> None:
    status, out, error = motif("report", room / "motif", "--json", "--out", tmp_path / "r.html")
    assert status == 0, error
    told, page = json.loads(out), Page((tmp_path / "r.html").read_text())
    assert told["page"] == str(tmp_path / "r.html")
    assert [one["what"].split(":")[0] for one in told["missing"]] == [
        "automatic metrics",
        "a human study",
        "samples of chosen pictures and prompts",
    ]
    for key in ("metrics", "study", "samples"):
        assert any("motif " in line for line in page.parts[key].commands)
    assert told["curves"]["runs"]["motif"]["loss"]["last"] == metrics_of(room / "motif")[-1]["loss"]
    ratio = json.loads((room / "motif/validation/validation.json").read_text())["runs"][0]["ratio"]
    assert told["validation"][0]["runs"][0]["ratio"] == ratio
    assert told["settings"]["motif"]["parameters"] == parameters(room / "motif")
    assert told["sprites"][0]["models"][0]["name"] == "motif"
    trained = [title for title, _ in page.parts["training_samples"].videos]
    assert trained == ["step 0", "step 2", "step 4"] * 2
    assert page.parts["page"].commands[0].startswith("motif report ")


def test_what_is_missing_is_named_with_its_command(motif: Motif, room: Path, tmp_path: Path) -> None:
    """Of a run that has begun and has no step, and of one without any result."""
    begun = tmp_path / "begun"
    begun.mkdir()
    shutil.copy(room / "plain" / "config.json", begun)
    status, out, error = motif("report", begun, room / "motif", "--out", tmp_path / "r.html", "--json")
    assert status == 0, error
    missing = {one["what"]: one["commands"] for one in json.loads(out)["missing"]}
    data = json.loads((begun / "config.json").read_text())["data"]["0"]["uri"]
    train = f"motif train --config {begun}/config.json --data {data} --out {begun}"
    assert missing["the rest of begun: 0 of 4 steps are done"] == [train]
    assert missing["curves of begun: it has no step yet"] == [train]
    assert any(what.startswith("Figure 6 of begun:") for what in missing)
    assert any(what.startswith("scores on moving sprites of begun:") for what in missing)
    assert any(what.startswith("samples of begun:") for what in missing)
    text = (tmp_path / "r.html").read_text()
    assert f"<summary>Not in this report: {len(missing)}</summary>" in text
    for what in missing:
        assert what in error


BROKEN: list[tuple[list[str], str]] = [
    ([], "motif report: RUN is missing. Usage: motif report RUN [RUN ...]"),
    (["nowhere"], "nowhere: not a run"),
    (["motif", "motif/"], "motif/ is given twice"),
    (["motif", "--num", "0"], "--num 0: must be at least 1"),
    (["motif", "--out", "report.pdf"], "--out report.pdf: must be an .html file"),
    (["motif", "--validation", "none"], "--validation none/validation.json: there is no such file. `motif validate"),
    (["motif", "--metrics", "score.json"], "--metrics score.json is not a result of `motif metrics`, is damaged, or"),
    (["motif", "--study", "b.json"], "--study b.json is not a result of `motif study score`"),
    (["motif", "--sprites", "validation/validation.json"], "is not a result of `motif evaluate sprites`"),
    (["motif", "--metrics", "cut.json"], "--metrics cut.json is not a result of `motif metrics`"),
    (["motif", "--samples", "study"], "--samples study: there is no .mp4 file"),
    (["torn"], "torn/metrics.jsonl: line 2 is damaged"),
    (["old"], "old: its config.json is damaged, or of another version of motif"),
    (["motif2"], "motif2/launches.jsonl is damaged"),
]


@pytest.mark.parametrize(("args", "message"), BROKEN, ids=[" ".join(args) for args, _ in BROKEN])
def test_a_mistake_gets_one_line(
    motif: Motif, room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], message: str
) -> None:
    for name in ("motif", "validation", "study", "scores", "b.json", "score.json"):
        (tmp_path / name).symlink_to(room / name)
    monkeypatch.chdir(tmp_path)
    Path("cut.json").write_text((room / "b.json").read_text()[:-100])
    for name in ("torn", "old", "motif2"):
        Path(name).mkdir()
        shutil.copy(room / "motif" / "config.json", name)
    lines = (room / "motif" / "metrics.jsonl").read_text().splitlines()
    Path("torn/metrics.jsonl").write_text("\n".join([lines[0], lines[1][:20], *lines[2:], ""]))
    Path("old/config.json").write_text('{"config": {"steps": "4"}, "data": {}}')
    Path("motif2/launches.jsonl").write_text("[]\n")
    status, out, error = motif("report", *args)
    assert (status, out) == (2, ""), error
    assert message in error
    assert len(error.splitlines()) == 1
    assert not Path("report.html").exists()


@pytest.mark.slow
def test_in_a_browser_videos_play_and_no_prompt_runs(motif: Motif, room: Path, browser: Any, tmp_path: Path) -> None:
    """Also of a run whose own name is markup."""
    named = tmp_path / "<img src=x onerror=document.title='owned'>"
    shutil.copytree(room / "plain", named)
    out = tmp_path / "r.html"
    status, _, error = motif("report", room / "motif", named, *results(room), "--out", out)
    assert status == 0, error
    for width in (1280, 390):
        tab = browser.new_page(viewport={"width": width, "height": 900})
        errors: list[str] = []
        asked: list[str] = []
        tab.on("pageerror", lambda error, errors=errors: errors.append(str(error)))
        tab.on("console", lambda line, errors=errors: errors.append(line.text) if line.type == "error" else None)
        tab.on("request", lambda request, asked=asked: asked.append(request.url))
        tab.goto(out.as_uri())
        assert tab.title().startswith("Training runs motif and <img")
        assert tab.evaluate("document.images.length") == 0
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        tab.locator("#samples video").first.scroll_into_view_if_needed()
        tab.evaluate(PLAYED)  # the page's own policy forbids the strings of wait_for_function
        tab.locator("#play").click()
        assert tab.evaluate("[...document.querySelectorAll('video')].every(v => v.paused)")
        assert errors == []
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
