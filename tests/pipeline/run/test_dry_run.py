import subprocess
import sys
from pathlib import Path

CODE = """
import sys
from base.storage.folder import Folder
from pipeline.recipes import sprites
from pipeline.run.job import Job
from pipeline.run.run import Run

Run(Job(sprites(), "m.csv", Folder("dataset")), print).dry_run()
print("loaded:", *{"torch", "ray", "diffusers", "scipy", "cv2"} & sys.modules.keys())
"""


def test_a_plan_loads_no_network_library_and_no_ray(tmp_path: Path) -> None:
    """They take seconds, and more memory than a million rows."""
    (tmp_path / "m.csv").write_text("video,caption\ns3://b/a.mp4,a cat\n")
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr == ""
    assert "sources            probe 1 (new or changed)" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded:"
