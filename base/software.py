"""The software that runs, for records of runs: versions of packages, and motif's own commit."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

_PACKAGES = ("motif", "torch", "diffusers", "ray", "numpy")
_ROOT = Path(__file__).parents[1]
_PATIENCE_S = 10.0


def software(root: Path = _ROOT) -> dict[str, str]:
    """Versions by name, and ``commit`` if ``root``, motif's own folder, is a git checkout.

    A commit ends with "+ changes" if tracked files differ from it. Packages that are not installed are left out.
    """
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    commit = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    if commit:
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
        found["commit"] = f"{commit} + changes" if changed else commit
    return found


def _git(root: Path, *words: str) -> str | None:
    """What git prints; None if it fails or is not installed."""
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}  # asking must not write
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, env=environment, timeout=_PATIENCE_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
