"""What the runs are: recipe, data, weighting, software; what differs between them; the commands that trained them."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from base.config import from_json, to_json
from base.errors import InputError
from base.storage.uri import without_password
from evaluation.report.content import Missing, Section, Table
from evaluation.report.run import Run
from models.run_folder import CONFIG
from training.validation.compare import differing, flatten
from training.wan_recipes import ALL as RECIPES

# Settings that say where and how long a run computes, and what it writes, not what it learns.
_ASIDE = ("steps", "seed", "hardware", "saves", "samples", "trackers", "network.start")
_MOST_CHANGES = 6


def settings_section(runs: Sequence[Run]) -> Section:
    """The section."""
    tables = [Table(("", *(run.name for run in runs)), tuple(_facts(runs)))]
    different = _differences(runs) if len(runs) > 1 else []
    tables.append(Table(("setting", *(run.name for run in runs)), tuple(different), "Differences"))
    tables += [_all_settings(run) for run in runs]
    return Section(
        key="settings",
        title="What was trained",
        notes=("All runs have the same settings, data and software.",) if len(runs) > 1 and not different else (),
        tables=tuple(tables),
        missing=tuple(_missing(run) for run in runs if not run.is_complete),
        commands=tuple(command for run in runs for command in train_commands(run)),
        values={run.name: _values(run) for run in runs},
    )


def describe_recipe(config: Mapping[str, Any]) -> str:
    """The recipe of motif that a stored configuration is, or is almost, with what was changed in it."""
    fields = flatten(config)
    changes = {}
    for name, make in RECIPES.items():
        usual = flatten(to_json(make()))
        changes[name] = {key: fields.get(key) for key in sorted(usual | fields) if usual.get(key) != fields.get(key)}
    core = {name: [key for key in changed if not key.startswith(_ASIDE)] for name, changed in changes.items()}
    best = min(RECIPES, key=lambda name: (len(core[name]), len(changes[name])))
    if not core[best]:
        return best
    if len(core[best]) > _MOST_CHANGES:
        return "none of motif's own"
    return f"{best}, with {', '.join(f'{key} {_text(changes[best][key])}' for key in core[best])}"


def describe_loss(config: Mapping[str, Any]) -> str:
    """The loss weighting of a stored configuration: its formula, if its class is there, and its settings."""
    loss = dict(config["loss"])
    kind = loss.pop("type", "")
    listed = ", ".join(f"{name} {_text(value)}" for name, value in loss.items())
    try:
        formula = f"{from_json(config['loss']).formula()}; "
    except (InputError, AttributeError):  # of a recipe whose package is not here
        formula = ""
    return f"{formula}{kind}{f' ({listed})' if listed else ''}"


def count(parameters: int | None) -> str:
    """Such as ``1.7 million``."""
    if parameters is None:
        return "not known here"
    return f"{parameters / 1e6:,.1f} million" if parameters >= 1e6 else f"{parameters:,}"


def train_commands(run: Run) -> list[str]:
    """The commands that trained a run, or, if it did not record them, the one that trains it again."""
    recorded = [launch.command for launch in run.launches if launch.command]
    return list(dict.fromkeys(recorded)) or [f"{train_again(run)}   (trains it again; its own is not recorded)"]


def train_again(run: Run) -> str:
    """The command that continues a run, or trains it again in another folder."""
    data = [without_password(one.uri) for one in run.data]
    return shlex.join(["motif", "train", "--config", run.folder.file(CONFIG), "--data", *data, "--out", run.folder.uri])


def _missing(run: Run) -> Missing:
    done = f"{run.done:,} of {run.config['steps']:,} steps are done"
    return Missing(f"the rest of {run.name}: {done}", (train_again(run),))


def _facts(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    columns = [_facts_of(run) for run in runs]
    return [(name, *(column[name] for column in columns)) for name in columns[0]]


def _facts_of(run: Run) -> dict[str, str]:
    config = run.config
    network = dict(config["network"])
    start = str(network.get("start") or "random weights")
    return {
        "folder": run.folder.uri,
        "recipe": describe_recipe(config),
        "dataset": "; ".join(f"{without_password(one.uri)}, {one.clips:,} clips" for one in run.data),
        "loss": describe_loss(config),
        "steps": f"{run.done:,} of {config['steps']:,}, {config['batch']:,} clips each",
        "parameters": count(run.parameters),
        "network": f"{network.get('type', '')}, from {start}",
        "process": str(config.get("schedule", {}).get("type", "")),
        "seed": str(config.get("seed", "")),
        "software": _software(run),
        "commit": _commit(run),
        "launched": ", ".join(f"{one.time} from step {one.step:,}" for one in run.launches) or _NOT_RECORDED,
        "checkpoint": "none yet" if run.checkpoint is None else f"step {run.checkpoint:,}",
    }


_NOT_RECORDED = "not recorded"


def _software(run: Run) -> str:
    """The versions of all launches: one text if they are the same."""
    found = [{name: version for name, version in one.software.items() if name != "commit"} for one in run.launches]
    texts = dict.fromkeys(", ".join(f"{name} {version}" for name, version in one.items()) for one in found)
    return "; then ".join(texts) or _NOT_RECORDED


def _commit(run: Run) -> str:
    """The commits of all launches."""
    found = dict.fromkeys(one.software.get("commit", _NOT_RECORDED) for one in run.launches)
    return "; then ".join(found) or _NOT_RECORDED


def _differences(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    rows = [(name, *map(_text, values)) for name, values in differing([run.config for run in runs]).items()]
    data = ["; ".join(f"{one.clips:,} clips, digest {one.digest[:12]}" for one in run.data) for run in runs]
    rows += [("data", *data)] if len(set(data)) > 1 else []
    for name, describe in (("software", _software), ("commit", _commit)):
        values = [describe(run) for run in runs]
        rows += [(name, *values)] if len(set(values)) > 1 else []
    return rows


def _all_settings(run: Run) -> Table:
    rows = tuple((name, _text(value)) for name, value in flatten(run.config).items())
    return Table(("setting", "value"), rows, f"All settings of {run.name}", folded=True)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value)


def _values(run: Run) -> dict[str, Any]:
    return {
        "folder": run.folder.uri,
        "recipe": describe_recipe(run.config),
        "config": run.config,
        "data": [asdict(one) for one in run.data],
        "steps": run.done,
        "parameters": run.parameters,
        "checkpoint": run.checkpoint,
        "launches": [asdict(one) for one in run.launches],
    }
