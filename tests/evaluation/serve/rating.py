"""What a rater does in a browser."""

from typing import Any

WATCHED = "#{}-seen:text-is('watched ✓')"
SECONDS = 60_000


def begin(tab: Any) -> None:
    """Read, agree, begin."""
    tab.check("#agree")
    tab.click("#begin")
    tab.wait_for_selector("#task", state="visible")


def watch(tab: Any) -> None:
    """Play both videos to their ends."""
    tab.click("#both")
    for side in ("left", "right"):
        tab.wait_for_selector(WATCHED.format(side), timeout=SECONDS)


def choose(tab: Any, side: str, *reasons: str) -> None:
    """Choose a side and reasons, and wait until the answer may be sent."""
    tab.click(f"#choose-{side}:enabled", timeout=SECONDS)
    for reason in reasons:
        tab.click(f"#reason-{reason}")
    tab.wait_for_selector("#send:enabled", timeout=SECONDS)


def task_id(tab: Any) -> str:
    """The id of the task that is shown."""
    return str(tab.get_attribute("#left-video", "src")).split("/")[1]


def wait_for_another(tab: Any, last: str) -> None:
    """Wait for another task or the end."""
    tab.wait_for_function(
        "last => !document.getElementById('end').hidden || !document.getElementById('left-video').src.includes(last)",
        arg=last,
        timeout=SECONDS,
    )
