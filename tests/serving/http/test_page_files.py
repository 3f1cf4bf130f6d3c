"""The files of the page at ``/``: that they fit together, and need nobody else."""

import re

from tests.conftest import ROOT

PAGE = ROOT / "serving" / "page"


def test_nothing_is_inline_or_from_elsewhere() -> None:
    text = (PAGE / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)
    for path in PAGE.iterdir():
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", path.read_text()), path.name
        assert len(path.read_text().splitlines()) <= 300
    used = re.findall(r'(?:src|href)="page/([^"]+)"', text)
    for path in PAGE.glob("*.js"):
        used += re.findall(r'from "\./([^"]+)"', path.read_text())
    assert set(used) == {path.name for path in PAGE.iterdir()} - {"index.html"}


def test_every_element_that_is_looked_for_is_there_and_every_field_has_a_name() -> None:
    text = (PAGE / "index.html").read_text()
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    looked_for = {id_ for path in PAGE.glob("*.js") for id_ in re.findall(r'byId\("([^"]+)"\)', path.read_text())}
    named = re.findall(r'(?:labelledby|describedby|controls|for)="([^"]+)"', text)
    assert (looked_for | set(" ".join(named).split())) <= set(ids)
    fields = re.findall(r'<(?:input|textarea|select)\s[^>]*?id="([^"]+)"', text)
    assert set(fields) == set(re.findall(r'<label for="([^"]+)"', text))
