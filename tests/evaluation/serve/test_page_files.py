"""The files of the page for raters: that they fit together, and need nobody else."""

import re

from tests.conftest import ROOT

PAGE = ROOT / "evaluation" / "serve" / "page"
TEXT = (PAGE / "index.html").read_text()


def test_nothing_is_inline_or_from_elsewhere() -> None:
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", TEXT)
    for path in PAGE.iterdir():
        text = re.sub(r"/\^https:.*?/\.exec", "", path.read_text())  # a pattern for addresses, not an address
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), path.name
        assert len(path.read_text().splitlines()) <= 300
    used = re.findall(r'(?:src|href)="page/([^"]+)"', TEXT)
    for path in PAGE.glob("*.*s"):
        used += re.findall(r'from "\./([^"]+)"|url\("([^"]+)"\)', path.read_text())
    names = {name for found in used for name in ([found] if isinstance(found, str) else found) if name}
    assert names == {path.name for path in PAGE.iterdir()} - {"index.html"}


def test_every_element_that_is_looked_for_is_there() -> None:
    ids = re.findall(r'\sid="([^"]+)"', TEXT)
    assert len(ids) == len(set(ids))
    code = "\n".join(path.read_text() for path in PAGE.glob("*.js"))
    looked_for = {*re.findall(r'byId\("([^"]+)"\)', code)}
    for pattern in re.findall(r"byId\(`([^`]+)`\)", code):
        values = ("motion", "text", "image", "quality") if pattern.startswith("reason") else ("left", "right")
        looked_for |= {re.sub(r"\$\{[\w.]+\}", value, pattern) for value in values}
    named = re.findall(r'(?:labelledby|describedby|controls|for)="([^"]+)"', TEXT)
    assert (looked_for | set(" ".join(named).split())) <= set(ids)


def test_the_examples_are_balanced() -> None:
    """Each reason has an example, and on each side as many are the better ones."""
    articles = re.findall(r"<article>(.*?)</article>", TEXT, re.DOTALL)
    assert [re.findall(r"<h3>(.*?)</h3>", text)[0] for text in articles] == [
        "Object motion", "Fits the text", "Fits the starting image", "Overall quality",
    ]  # fmt: skip
    better = [re.findall(r'<svg (class="better")?', text).index('class="better"') for text in articles]
    assert sorted(better) == [0, 0, 1, 1]
    for text, side in zip(articles, better, strict=True):
        assert f'<p class="verdict"><b>{("Left", "Right")[side]} is better:</b>' in text
