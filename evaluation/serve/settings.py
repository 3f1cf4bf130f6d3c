"""How a study is shown to raters. What decides about their votes is in the study's own rules."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Platform = Literal["open", "prolific", "mturk"]
_CODE = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Settings:
    """What raters are given."""

    tasks: int = 20
    """Pairs that a rater judges; every rater also answers all gold questions."""
    lock_seconds: float = 10.0
    """How long the choice stays locked after the first sight of a task."""
    lease_minutes: float = 30.0
    """After this time without an answer, a task may be given to another rater."""
    platform: Platform = "open"
    """Who takes part: anyone with the link (open), or people whom a platform sends, known by its ids."""
    completion_code: str = ""
    """The code that raters see at the end; by default each rater has one of their own. Prolific needs this one."""
    contact: str = ""
    """Whom raters may ask, such as a name and a mail address; shown on the first page."""

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.tasks < 1:
            raise ValueError(f"tasks {self.tasks}: must be at least 1")
        if not 0 <= self.lock_seconds < float("inf"):
            raise ValueError(f"lock_seconds {self.lock_seconds}: must be at least 0")
        if not 0 < self.lease_minutes < float("inf"):
            raise ValueError(f"lease_minutes {self.lease_minutes}: must be above 0")
        if self.completion_code and not _CODE.fullmatch(self.completion_code):
            raise ValueError(f"completion_code '{self.completion_code}': must be letters and digits, at most 64")
        if self.platform == "prolific" and not self.completion_code:
            raise ValueError(
                "completion_code is missing: Prolific shows it when you create a study there, and raters return with it"
            )


def database_url(database: str, study: Path) -> str:
    """An SQLAlchemy URL from a URL, from the path of an SQLite file, or by default the file in the study's folder."""
    if "://" in database:
        return database
    return f"sqlite:///{Path(database).absolute() if database else (study / 'votes.sqlite').absolute()}"
