"""What Prometheus is told of a training run on Ray. All have the label ``run``."""

from base.ray_metrics import Metric, RayMetrics

STEPS = Metric("motif_train_steps", "Steps computed, also those that a restart repeats")
CLIPS = Metric("motif_train_clips", "Clips in these steps, over all workers")
SECONDS = Metric("motif_train_seconds", "Time of these steps")
DATA_WAIT = Metric("motif_train_data_wait_seconds", "Time of these steps spent waiting for data")
STEP = Metric("motif_train_step", "Steps done since the run began")
LAST_STEP = Metric("motif_train_last_step", "Steps after which the run ends")
LOSS = Metric("motif_train_loss", "Loss of the last step, and its terms", ("term",))
# Gauges of the last step by their names in metrics.jsonl, with the factor to their units.
GAUGES = {
    "grad_norm": (Metric("motif_train_grad_norm", "Gradient norm before clipping"), 1.0),
    "lr": (Metric("motif_train_learning_rate", "Learning rate"), 1.0),
    "epoch": (Metric("motif_train_epoch", "Passes over the data since the run began"), 1.0),
    "memory_gb": (Metric("motif_train_gpu_memory_bytes", "Largest GPU memory allocated so far"), 1e9),
    "mfu": (Metric("motif_train_mfu", "Model FLOPs utilisation of the first worker's GPU, 0 to 1"), 1.0),
}
_COUNTED = ("seconds", "data_wait", "clips_per_s")


class StepMetrics:
    """The metrics of a run of ``last`` steps with ``clips`` clips each."""

    def __init__(self, metrics: RayMetrics, clips: int, last: int) -> None:
        self.metrics = metrics
        self.clips = clips
        self.last = last

    def log(self, step: int, values: dict[str, float]) -> None:
        """Take over the values of a step; the first step is 0."""
        self.metrics.add(STEPS, 1)
        self.metrics.add(CLIPS, self.clips)
        self.metrics.add(SECONDS, values["seconds"])
        self.metrics.add(DATA_WAIT, values["data_wait"])
        self.metrics.set(STEP, step + 1)
        self.metrics.set(LAST_STEP, self.last)
        for name, value in values.items():
            if name in GAUGES:
                metric, factor = GAUGES[name]
                self.metrics.set(metric, value * factor)
            elif name not in _COUNTED:  # the loss, and the terms that its weighting names
                self.metrics.set(LOSS, value, "total" if name == "loss" else name)
