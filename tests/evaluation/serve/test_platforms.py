"""Links and questions for platforms, read as these read them."""

import re
from xml.etree import ElementTree

import pytest

from base.errors import InputError
from evaluation.serve.platforms import external_question, html_question, prolific_link, return_url

URL = "https://study.example/video/?a=1&b=2"
SCHEMAS = "{http://mechanicalturk.amazonaws.com/AWSMechanicalTurkDataSchemas/"


def test_the_link_for_prolific() -> None:
    given = "PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}"
    assert prolific_link("https://study.example/") == f"https://study.example/?{given}"
    assert prolific_link(URL) == f"{URL}&{given}"


def test_an_external_question_has_the_address() -> None:
    root = ElementTree.fromstring(external_question(URL))
    space = f"{SCHEMAS}2006-07-14/ExternalQuestion.xsd}}"
    assert [(part.tag, part.text) for part in [root, *root] if part.text and part.text.strip()] == [
        (f"{space}ExternalURL", URL),
        (f"{space}FrameHeight", "0"),
    ]
    assert root.tag == f"{space}ExternalQuestion"


@pytest.mark.parametrize("url", [URL, "https://study.example/]]></script><b>"])
def test_an_html_question_is_a_form_that_mechanical_turk_accepts(url: str) -> None:
    root = ElementTree.fromstring(html_question(url))
    space = f"{SCHEMAS}2011-11-11/HTMLQuestion.xsd}}"
    assert (root.tag, [part.tag for part in root]) == (
        f"{space}HTMLQuestion",
        [f"{space}HTMLContent", f"{space}FrameHeight"],
    )
    page = str(root[0].text)
    assert page.strip().startswith("<!doctype html>")
    assert 'action="https://www.mturk.com/mturk/externalSubmit"' in page
    assert re.search(r'<input type="hidden" name="assignmentId"', page)
    assert page.count("</script>") == page.count("<b>") + 1 == 1
    (quoted,) = re.findall(r'new URL\("(.*?)"\)', page)
    assert re.sub(r"\\u00(..)", lambda found: chr(int(found[1], 16)), quoted) == url


@pytest.mark.parametrize(
    "url", ["http://study.example", "study.example", "https://", "https://a b", "https://a/#b", ""]
)
def test_addresses_that_raters_cannot_reach_are_refused(url: str) -> None:
    for make in (external_question, html_question):
        with pytest.raises(InputError, match="--mturk .*: must be the address under which raters reach the study"):
            make(url)
    if not url.startswith("http:"):
        with pytest.raises(InputError, match="--prolific"):
            prolific_link(url)


def test_only_prolific_has_an_address_to_return_to() -> None:
    assert return_url("prolific", "C0DE") == "https://app.prolific.com/submissions/complete?cc=C0DE"
    assert return_url("open", "C0DE") == return_url("mturk", "C0DE") == ""
