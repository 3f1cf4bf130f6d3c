"""One worker of a run: builds or restores the training state and runs the loop."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from base.device import set_kernels
from dataset.lock import FenceWatch
from models.estimate import flops, parameters, trained_parameters, training_flops
from models.video_model import unwrap
from training.data.loader import Batches, BatchPlan, Prefetcher, Share, StepData
from training.data.source import Source
from training.loop.compiling import compile_network, compiling_explained
from training.loop.objective import Objective
from training.loop.optimiser import Ema, trained
from training.loop.parallel import World, distribute
from training.loop.speed import Meter, Pace, peak_flops
from training.loop.train_loop import Periodic, Progress, TrainLoop
from training.loop.train_step import StepResult, TrainState, TrainStep
from training.network import build_network
from training.recipes import Train
from training.run.checkpoints import Checkpoints
from training.run.job import TrainJob, check_resume, describe, model_card, motion_bounds, open_sources
from training.run.samples import Sampler
from training.run.tracking import Metrics, Tracker, open_trackers


class Worker:
    """A worker of a job in its world. ``report`` takes lines for the user.

    ``sources`` are the job's opened datasets; by default the worker opens them itself. ``trackers`` are used beside
    those of the configuration.
    """

    def __init__(
        self,
        job: TrainJob,
        world: World,
        report: Callable[[str], None],
        sources: Sequence[Source] | None = None,
        trackers: Sequence[Tracker] = (),
    ) -> None:
        self.trackers = trackers
        self.job, self.config, self.world, self.report = job, job.config, world, report
        self.sources = open_sources(job) if sources is None else sources
        start = check_resume(job, self.sources)
        self.half = job.config.hardware.precision == "bfloat16"
        self.pace = Pace()
        self.checkpoints = Checkpoints(job.out, job.config.saves.keep, job.fence)
        self.lock = FenceWatch(job.fence)
        self.bounds = motion_bounds(job, self.sources)
        self.card = model_card(job.config, self.sources, self.bounds)
        self.sampler = self._sampler()
        self.state = self._build()
        if start.step:
            self.checkpoints.restore(start, self.state)
            report(f"resuming from step {start.step} of {job.out.uri}")
        self.loop = self._loop(start)

    def _sampler(self) -> Sampler | None:
        if not self.config.samples.every:
            return None
        return Sampler(self.config, self.sources[0], self.world, self.report, self.bounds)

    def _build(self) -> TrainState:
        config, hardware = self.config, self.config.hardware
        set_kernels(self.world.device, hardware.kernels)
        network = build_network(config.network, self.sources[0].facts, config.seed, config.adapter)
        network = network.to(self.world.device).train()
        if hardware.recomputes is not None:
            network.enable_gradient_checkpointing(hardware.recomputes)
        spread = distribute(network, self.world, hardware.parallel, half=self.half)
        if hardware.compile:
            compile_network(spread, self.report, optional=hardware.compile_optional)
        ema = Ema(trained(spread), config.optimiser.ema) if config.optimiser.ema else None
        return TrainState(spread, config.optimiser.build(spread), ema)

    def _loop(self, start: Progress) -> TrainLoop:
        config, device = self.config, self.world.device
        objective = Objective(config.schedule, config.loss)
        train_step = TrainStep(self.state, objective, config.optimiser, self.world, config.seed, self.half)
        network, shapes = unwrap(self.state.network), self.sources[0].facts.shapes
        cost = training_flops(network, flops(network, shapes)) if peak_flops(device) else 0
        meter = Meter(device, config.batch, 1 / self.world.size, cost)
        return TrainLoop(train_step, meter, start, config.steps, ahead=int(device.type == "cuda"))

    def run(self) -> Progress:
        """Run all remaining steps. However this ends, the last checkpoint is kept."""
        with ExitStack() as stack:
            if self.config.hardware.compile:
                stack.enter_context(compiling_explained())
            trackers = self._trackers(stack)
            if trackers:
                self.report(legend(self.config))
                self._report_adapter()
            batches = stack.enter_context(self.batches())
            periodic = [Periodic(self.config.saves.every, partial(self._save, trackers))]
            if self.sampler:
                periodic.append(Periodic(self.config.samples.every, self._sample))
                if self.loop.progress.step == 0:
                    self._sample(self.loop.progress)
            return self.loop.run(batches, partial(self._log, trackers), periodic)

    def batches(self) -> Prefetcher:
        """The data of the remaining steps."""
        config = self.config
        plan = BatchPlan(config.batch, config.seed, config.schedule, config.text_dropout, config.window, self.bounds)
        share = Share(self.world.rank, self.world.size, config.hardware.micro_batch)
        start = self.loop.progress
        batches = Batches(self.sources, plan, share, start.cursor)
        return Prefetcher(batches, start.step, config.steps, pin=self.world.device.type == "cuda")

    def _report_adapter(self) -> None:
        network = unwrap(self.state.network)
        if network.adapter is not None:
            count = f"{trained_parameters(network) / 1e6:,.1f} of {parameters(network) / 1e6:,.1f} M parameters"
            self.report(f"trained: {count}, {network.adapter.summary()}")

    def _trackers(self, stack: ExitStack) -> list[Tracker]:
        """The trackers, on the first worker only."""
        if not self.world.first:
            return []
        description = describe(self.job, self.sources)
        trackers: list[Tracker] = [Metrics(self.job.out, self.loop.progress.step), *self.trackers]
        trackers += open_trackers(self.config.trackers, self.job.out, self.loop.progress.step, description)
        for tracker in trackers:
            stack.callback(tracker.close)
        return trackers

    def _log(self, trackers: Sequence[Tracker], data: StepData, result: StepResult) -> None:
        """A step's line for the user and its values for the trackers."""
        speed = self.loop.meter.read()
        if not trackers:
            return
        self.lock.check()
        for tracker in trackers:
            tracker.log(data.step, result.metrics() | {"epoch": data.epoch} | speed)
        terms = "".join(f"  {name} {value:.4f}" for name, value in result.terms.items())
        self.report(
            f"step {data.step + 1:>6} of {self.config.steps}  loss {result.loss:.4f}{terms}  "
            f"norm {result.grad_norm:.3f}  {speed['seconds']:.2f} s, "
            f"waited {speed['data_wait']:.3f}{self.pace.describe(speed['seconds'], self.config.steps - data.step - 1)}"
        )

    def _save(self, trackers: Sequence[Tracker], progress: Progress) -> None:
        for tracker in trackers:
            tracker.flush()
        self.checkpoints.save(progress, self.state, self.card, self.world)
        if self.world.first:
            self.report(f"checkpoint step-{progress.step:08}")

    def _sample(self, progress: Progress) -> None:
        assert self.sampler is not None
        self.sampler.write(self.state, self.job.out, progress.step)

    def stopped(self) -> str:
        """A message about an interrupted run and where the same command would resume."""
        saved = self.checkpoints.latest()
        if saved is None:
            return f"interrupted at step {self.loop.progress.step}, before a checkpoint; the same command starts over."
        return f"interrupted at step {self.loop.progress.step}; the same command resumes from step {saved.step}."


def legend(config: Train) -> str:
    """Explains the numbers of a step's line."""
    return (
        f"loss = {config.loss.formula()}; norm: gradient norm before clipping to "
        f"{config.optimiser.clip_norm:g}; waited: seconds of the step spent waiting for data"
    )
