"""Fifty raters at once, over HTTP, on a server that is killed twice meanwhile."""

import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from evaluation.serve.export import votes_csv
from evaluation.serve.store import VoteStore
from evaluation.study.score import score_study
from evaluation.study.votes import read_votes
from tests.evaluation.serve.server import StudyServer, serving
from tests.evaluation.serve.studies import small_study, write_study

RATERS, MALICIOUS, TASKS = 50, 4, 7


@dataclass
class Crowd:
    """What raters were told: the votes that the server has acknowledged."""

    server: StudyServer
    stored: dict[tuple[str, str], str] = field(default_factory=dict)
    """Token and task: the choice."""
    ends: dict[str, str] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, votes: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.stored) >= votes or len(self.ends) == RATERS, 600)

    def ask(self, client: httpx2.Client, method: str, path: str, **options: object) -> httpx2.Response:
        """Ask until there is an answer, however often the server is killed."""
        while True:
            assert self.server.up.wait(120)
            try:
                return client.request(method, path, **options)
            except httpx2.TransportError:
                continue

    def rate(self, number: int) -> None:
        """A rater who sees what the videos are, as the files' contents say, and prefers model a."""
        generator = random.Random(number)
        malicious = number < MALICIOUS
        with httpx2.Client(base_url=self.server.url, timeout=120) as client:
            token = self.ask(client, "POST", "/api/raters", json={"consent": True}).json()["token"]
            client.headers["authorization"] = f"Bearer {token}"
            while (session := self.ask(client, "POST", "/api/next", json={}).json())["status"] == "task":
                task = session["task"]
                left = self.ask(client, "GET", f"/{task['left']}").text
                choice = "left" if (left == "good.mp4" or left.endswith("a.mp4")) != malicious else "right"
                vote = {"choice": choice, "reasons": ["motion"], "watched": ["left", "right"]}
                for _ in range(generator.choice((1, 1, 2))):  # impatient people send it twice
                    answer = self.ask(client, "POST", f"/api/tasks/{task['id']}/vote", json=vote)
                    assert answer.json() == {"task": task["id"], "stored": True}
                with self.changed:
                    self.stored[token, task["id"]] = choice
                    self.changed.notify_all()
            with self.changed:
                self.ends[token] = session["status"]
                self.changed.notify_all()


@pytest.mark.slow
def test_no_vote_is_lost_or_doubled(tmp_path: Path) -> None:
    study = small_study(pairs=60, raters=5, gold=4, min_seconds=0.0)
    folder = write_study(tmp_path / "study", study)
    with serving(folder, "--lock-seconds", "0", "--tasks", str(TASKS)) as server:
        crowd = Crowd(server)
        threads = [threading.Thread(target=crowd.rate, args=(number,)) for number in range(RATERS)]
        for thread in threads:
            thread.start()
        for votes in (120, 300):
            crowd.wait_for(votes)
            server.kill()
            ready = server.start()
            assert ready["votes"] + ready["gold_answers"] >= votes  # nothing that was acknowledged is gone
        for thread in threads:
            thread.join(600)
        assert server.end() == 0
    store = VoteStore(f"sqlite:///{folder / 'votes.sqlite'}", study, new=False)
    (tmp_path / "votes.csv").write_text(votes_csv(store.votes()))
    votes = read_votes(tmp_path / "votes.csv", study)  # which refuses a slot's second vote, and a rater's on a pair
    told = {(store.slot_of(task), store.find(token).name): side for (token, task), side in crowd.stored.items()}
    store.close()
    assert {(vote.slot, vote.rater): vote.choice for vote in votes} == told
    assert len(votes) == len(crowd.stored)
    assert Counter(crowd.ends.values()) == {"complete": RATERS - MALICIOUS, "excluded": MALICIOUS}
    assert {vote.slot for vote in votes} >= {*study.slots}
    score = score_study(study, votes)
    assert score.result is not None
    assert score.result.preference.value == 1  # whatever side it was on
    assert sum(bool(rater.excluded) for rater in score.raters) == MALICIOUS
