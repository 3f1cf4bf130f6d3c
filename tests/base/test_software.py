"""The record of the software: versions, and the commit of a real checkout."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path

from base.software import software


def git(root: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(["git", "-C", root, *who, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_versions(tmp_path: Path) -> None:
    found = software(tmp_path)
    assert found["python"] == platform.python_version()
    for name in ("motif", "torch", "numpy"):
        assert found[name] == importlib.metadata.version(name)
    assert "commit" not in found


def test_the_commit_and_whether_files_differ_from_it(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert "commit" not in software(tmp_path)  # nothing is committed yet
    (tmp_path / "a.py").write_text("1")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert software(tmp_path)["commit"] == head
    (tmp_path / "notes").write_text("not tracked")
    assert software(tmp_path)["commit"] == head
    (tmp_path / "a.py").write_text("2")
    assert software(tmp_path)["commit"] == f"{head} + changes"
