"""What the workers of a run send to its driver. An actor of its own holds it, so this module imports nothing heavy."""

Step = tuple[int, dict[str, float]]


class Messages:
    """Carries lines and the values of steps from the workers to the driver, and the error that ends a run."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[Step] = []
        self.failed: tuple[str, str] | None = None

    def tell(self, line: str) -> None:
        """Add a line for the user."""
        self.lines.append(line)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Add the values of a step."""
        self.steps.append((step, values))

    def take(self) -> tuple[list[str], list[Step]]:
        """Lines and steps since the last call."""
        lines, steps = self.lines, self.steps
        self.lines, self.steps = [], []
        return lines, steps

    def fail(self, kind: str, message: str) -> None:
        """Keep the class and the message of the first error that ends the run."""
        self.failed = self.failed or (kind, message)

    def failure(self) -> tuple[str, str] | None:
        """That error, if there is one."""
        return self.failed
