"""Platforms that send raters: who a rater is by the link's parameters, and the links and questions to publish there.

Prolific: https://docs.prolific.com. Mechanical Turk: ExternalQuestion and HTMLQuestion of its API of 2017-01-17.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from base.errors import InputError
from evaluation.serve.settings import Platform
from evaluation.serve.store import Refused

IDS: dict[Platform, tuple[str, ...]] = {
    "open": (),
    "prolific": ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID"),
    "mturk": ("workerId", "assignmentId", "hitId"),
}
"""The parameters that a platform adds to a link; the first says who the rater is."""
NAMES: dict[Platform, str] = {"prolific": "Prolific", "mturk": "Mechanical Turk"}
_ID = re.compile(r"[A-Za-z0-9]{1,64}")  # no sign with a meaning in spreadsheets, and no name like rater-0001
_PREVIEW = "ASSIGNMENT_ID_NOT_AVAILABLE"
_SCHEMAS = "http://mechanicalturk.amazonaws.com/AWSMechanicalTurkDataSchemas"
_FORM = Path(__file__).parent / "mturk_form.html"


def identify(platform: Platform, ids: Mapping[str, str]) -> tuple[str | None, dict[str, str]]:
    """The name of a rater, None where nobody says it, and what else the platform said. Refused if the link is wrong."""
    for other, title in NAMES.items():
        if other != platform and IDS[other][0] in ids:
            raise Refused(
                "wrong_platform",
                f"This study does not take raters from {title} (its server runs without --platform {other}). Please "
                "tell the researchers.",
            )
    known = {name: ids[name] for name in IDS[platform] if ids.get(name)}
    if platform == "open":
        return None, {}
    if known.get("assignmentId") == _PREVIEW:
        raise Refused("preview", "This is a preview. Accept the task on Mechanical Turk to begin.")
    if IDS[platform][0] not in known:
        raise Refused("no_identity", f"Open this study by its link on {NAMES[platform]}, which says who you are.")
    if wrong := [name for name, value in known.items() if not _ID.fullmatch(value)]:
        raise Refused("no_identity", f"The link's {wrong[0]} is not an id of {NAMES[platform]}. Open it there again.")
    return known[IDS[platform][0]], known


def return_url(platform: Platform, code: str) -> str:
    """Where a rater goes at the end, or ""."""
    return f"https://app.prolific.com/submissions/complete?cc={code}" if platform == "prolific" and code else ""


def prolific_link(url: str) -> str:
    """The study's URL to enter on Prolific, which fills in the ids."""
    _check("--prolific", url, ("http", "https"))
    given = "&".join(f"{name}={{{{%{name}%}}}}" for name in IDS["prolific"])
    return f"{url}{'&' if urlsplit(url).query else '?'}{given}"


def external_question(url: str) -> str:
    """A question that shows the study in a frame on Mechanical Turk, which adds the ids to the URL itself."""
    _check("--mturk", url, ("https",))
    return _question("2006-07-14/ExternalQuestion.xsd", "ExternalQuestion", f"<ExternalURL>{escape(url)}</ExternalURL>")


def html_question(url: str) -> str:
    """A question with a link to the study, which opens in a tab of its own, and a field for the code at its end."""
    _check("--mturk", url, ("https",))
    quoted = json.dumps(url).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    form = _FORM.read_text(encoding="utf-8").replace('"STUDY_URL"', quoted)
    return _question("2011-11-11/HTMLQuestion.xsd", "HTMLQuestion", f"<HTMLContent><![CDATA[{form}]]></HTMLContent>")


def _question(schema: str, tag: str, content: str) -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{tag} xmlns="{_SCHEMAS}/{schema}">\n{content}\n'
        f"<FrameHeight>0</FrameHeight>\n</{tag}>\n"
    )


def _check(option: str, url: str, schemes: tuple[str, ...]) -> None:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in schemes and bool(parts.hostname) and not parts.fragment and not re.search(r"\s", url)
    except ValueError:
        fits = False
    if not fits:
        raise InputError(
            f"{option} {url}: must be the address under which raters reach the study, such as https://HOST/."
        )
