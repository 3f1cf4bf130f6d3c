"""The runs of a study as Ray tasks, several at once, on the cluster of RAY_ADDRESS or on this machine."""

from collections.abc import Callable, Sequence
from typing import Any

import ray

from base import ray_session
from base.errors import Incomplete, InputError, MotifError
from evaluation.sprites_study.study import RunPlan, Study

_POLL_S = 2.0


def run_on_ray(
    study: Study, runs: Sequence[RunPlan], at_once: int, report: Callable[[str], None], done: Callable[[], None]
) -> None:
    """Run them, ``at_once`` at a time, each with its share of the machine; ``done`` is called after each.

    A run that fails does not end the others; the first one's error is raised after them.
    """
    failed: list[MotifError] = []
    with ray_session.session():
        ray_session.connect()
        task = ray.remote(**_resources(study, at_once))(_work)
        left = list(runs)
        waiting: dict[Any, RunPlan] = {}
        while left or waiting:
            while left and len(waiting) < at_once:
                plan = left.pop(0)
                waiting[task.remote(study, plan)] = plan
            ready, _ = ray.wait(list(waiting), timeout=_POLL_S)
            for reference in ready:
                plan = waiting.pop(reference)
                if error := _error(reference, plan):
                    failed.append(error)
                    report(f"{plan.name}: {error}")
                else:
                    report(f"{plan.name}: done, {len(left) + len(waiting)} runs left")
                    done()
    if failed:
        raise failed[0]


def _error(reference: Any, plan: RunPlan) -> MotifError | None:
    """Why a run failed; None if it did not."""
    try:
        ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return error.cause if isinstance(error.cause, MotifError) else Incomplete(f"{plan.name} failed: {error.cause}")
    except ray.exceptions.RayError as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        return Incomplete(f"{plan.name}: its process ended ({said[0]}). Run the same command again.")
    return None


def _resources(study: Study, at_once: int) -> dict[str, float]:
    """The share of the cluster that a run takes. InputError if so many runs cannot be computed at once."""
    there = ray.cluster_resources()
    gpus, cores = there.get("GPU", 0), int(there.get("CPU", 0))
    if gpus and study.size.train.hardware.device != "cpu":
        share = min(1.0, gpus / at_once)
        return {"num_gpus": share, "num_cpus": 1}
    if at_once > cores:
        raise InputError(
            f"--workers {at_once}: the cluster has {cores} cores, and each run needs one. Use at most {cores}."
        )
    return {"num_cpus": cores // at_once}


def _work(study: Study, plan: RunPlan) -> None:
    from evaluation.sprites_study.run import run_one

    run_one(study, plan, lambda line: None)
