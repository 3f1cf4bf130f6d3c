"""One worker of a run: builds or restores what is trained and takes it to the last step."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict

from dataset.lock import FenceWatch
from training.data.loader import Batches, BatchPlan, Prefetcher, Share, StepData
from training.loop.objective import Objective, bare
from training.loop.optimiser import Ema
from training.loop.parallel import World, distribute
from training.loop.speed import Meter, Pace, clip_flops, peak_flops
from training.loop.train_step import Stepper, StepResult, Trainee
from training.network import build_network
from training.recipes import Train
from training.run.checkpoints import Checkpoints, Progress
from training.run.job import TrainJob, check_resume, describe, model_card, open_sources
from training.run.samples import Sampler
from training.run.tracking import Metrics, Tracker, open_trackers


class Worker:
    """A worker of a job in its world. ``say`` takes lines for the user."""

    def __init__(self, job: TrainJob, world: World, say: Callable[[str], None]) -> None:
        self.job, self.config, self.world, self.say = job, job.config, world, say
        self.sources = open_sources(job)
        self.progress = check_resume(job, self.sources)
        self.half = job.config.hardware.precision == "bfloat16"
        self.pace = Pace()
        self.checkpoints = Checkpoints(job.out, job.config.saves.keep, job.fence)
        self.lock = FenceWatch(job.fence)
        self.card = model_card(job.config, self.sources)
        self.sampler = Sampler(job.config, self.sources[0], world, say) if job.config.samples.every else None
        self.trainee = self._trainee()
        if self.progress.step:
            self.checkpoints.restore(self.progress, self.trainee)
            say(f"going on from step {self.progress.step} of {job.out.uri}")

    def _trainee(self) -> Trainee:
        config, hardware = self.config, self.config.hardware
        network = build_network(config.network, self.sources[0].facts, config.seed)
        network = network.to(self.world.device).train()
        if hardware.checkpointing:
            network.enable_gradient_checkpointing()
        spread = distribute(network, self.world, hardware.parallel, half=self.half)
        if hardware.compile:
            spread.compile()
        ema = Ema(spread.parameters(), config.optimiser.ema) if config.optimiser.ema else None
        return Trainee(spread, config.optimiser.build(spread), ema)

    def run(self) -> Progress:
        """Take every step that is left. Whenever this ends, what the last checkpoint holds is kept."""
        config = self.config
        objective = Objective(config.schedule, config.loss)
        stepper = Stepper(self.trainee, objective, config.optimiser, self.world, config.seed, self.half)
        meter = self._meter()
        with ExitStack() as stack:
            trackers = self._trackers(stack)
            if trackers:
                self.say(legend(config))
            steps = stack.enter_context(self._steps())
            if self.sampler and self.progress.step == 0:
                self.sampler.write(self.trainee, self.job.out, 0)
            while self.progress.step < config.steps:
                data = meter.next(steps)
                result = stepper.step(data)
                self.progress = Progress(data.step + 1, data.cursor, data.epoch)
                self._tell(trackers, data, result, meter)
                self._every_so_often(trackers)
        return self.progress

    def _meter(self) -> Meter:
        device = self.world.device
        cost = clip_flops(bare(self.trainee.network), self.sources[0].facts) if peak_flops(device) else 0
        return Meter(device, self.config.batch, 1 / self.world.size, cost)

    def _steps(self) -> Prefetcher:
        config = self.config
        plan = BatchPlan(config.batch, config.seed, config.schedule.steps, config.text_dropout, config.window)
        share = Share(self.world.rank, self.world.size, config.hardware.micro_batch)
        batches = Batches(self.sources, plan, share, self.progress.cursor)
        return Prefetcher(batches, self.progress.step, config.steps, pin=self.world.device.type == "cuda")

    def _trackers(self, stack: ExitStack) -> list[Tracker]:
        """The first worker's; the resolved configuration is written beside them."""
        if not self.world.first:
            return []
        description = describe(self.job, self.sources)
        trackers: list[Tracker] = [Metrics(self.job.out, self.progress.step)]
        trackers += open_trackers(self.config.trackers, self.job.out, self.progress.step, description)
        for tracker in trackers:
            stack.callback(tracker.close)
        return trackers

    def _tell(self, trackers: Sequence[Tracker], data: StepData, result: StepResult, meter: Meter) -> None:
        if not trackers:
            return
        self.lock.check()
        speed = meter.read()
        for tracker in trackers:
            tracker.log(data.step, asdict(result) | {"epoch": data.epoch} | speed)
        self.say(
            f"step {data.step + 1:>6} of {self.config.steps}  loss {result.loss:.4f}  plain {result.plain:.4f}  "
            f"motion {result.motion:.4f}  norm {result.grad_norm:.3f}  {speed['seconds']:.2f} s, "
            f"waited {speed['data_wait']:.3f}{self.pace.told(speed['seconds'], self.config.steps - data.step - 1)}"
        )

    def _every_so_often(self, trackers: Sequence[Tracker]) -> None:
        step = self.progress.step
        if step % self.config.saves.every == 0 or step == self.config.steps:
            for tracker in trackers:
                tracker.flush()
            self.checkpoints.save(self.progress, self.trainee, self.card, self.world)
            if self.world.first:
                self.say(f"checkpoint step-{step:08}")
        if self.sampler and (step % self.config.samples.every == 0 or step == self.config.steps):
            self.sampler.write(self.trainee, self.job.out, step)

    def stopped(self) -> str:
        """Where an interrupt found this, and where the same command would go on."""
        saved = self.checkpoints.latest()
        if saved is None:
            return f"interrupted at step {self.progress.step}, before a checkpoint; the same command starts anew."
        return f"interrupted at step {self.progress.step}; the same command goes on from step {saved.step}."


def legend(config: Train) -> str:
    """What the numbers of a step's line mean."""
    weight = config.loss.weight
    total = f"plain + {weight:g} x motion" if weight else "plain (motion is not in it)"
    return (
        f"loss = {total}; norm: of the gradient before it is clipped to {config.optimiser.clip_norm:g}; "
        "waited: seconds of the step spent waiting for data"
    )
