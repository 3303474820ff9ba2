"""The Slurm script with stand-ins for Slurm and torchrun: what is put back into the queue, and what is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
TORCHRUN = """#!/usr/bin/env bash
# As torchrun: passes the signal on, and ends with 1 whatever became of its processes.
state() {
    echo "{\\"state\\": \\"$1\\", \\"exit_code\\": $2, \\"message\\": \\"\\", \\"time_utc\\": \\"\\"}" > RUN/status.json
}
echo "$@" > RUN/arguments
trap 'state stopped 75; exit 1' TERM
case FATE in
    done) state done 0; exit 0 ;;
    failed) state failed 4; exit 1 ;;
esac
touch RUN/ready
while true; do sleep 0.05; done
"""


def write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def submit_folder(tmp_path: Path, tiny_yaml: Path) -> Path:
    """Where a job begins, with the programs that it finds there. `tiny_yaml` lies in it."""
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    (tmp_path / "run").mkdir()
    ours = f'#!/usr/bin/env bash\nPYTHONPATH={REPOSITORY} exec {sys.executable} -m integral_pose "$@"\n'
    write_program(programs / "integral-pose", ours)
    write_program(programs / "srun", '#!/usr/bin/env bash\nshift\nexec "$@"\n')
    write_program(programs / "scancel", "#!/usr/bin/env bash\nexit 1\n")  # no such step: the script has another way
    scontrol = f'#!/usr/bin/env bash\n[ "$1" = show ] && echo node1 || echo "$@" >> {tmp_path}/requeued\n'
    write_program(programs / "scontrol", scontrol)
    return tmp_path


@pytest.mark.parametrize(
    ("fate", "number", "exit_code", "requeues"),
    [("signal", signal.SIGUSR1, 0, 1), ("signal", signal.SIGTERM, 0, 1), ("failed", None, 4, 0), ("done", None, 0, 0)],
)
def test_slurm_script(fate: str, number: int | None, exit_code: int, requeues: int, submit_folder: Path) -> None:
    run = submit_folder / "run"
    text = TORCHRUN.replace("RUN", str(run)).replace("FATE", fate)
    write_program(submit_folder / ".venv/bin/torchrun", text)
    environment = {**os.environ, "SLURM_SUBMIT_DIR": str(submit_folder), "SLURM_JOB_NODELIST": "node1",
                   "SLURM_JOB_ID": "7", "SLURM_NNODES": "1", "SLURM_GPUS_ON_NODE": "2"}  # fmt: skip
    command = ["bash", str(REPOSITORY / "scripts/slurm_train.sbatch"), "tiny.yaml"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    if number is not None:
        end = time.monotonic() + 60
        while not (run / "ready").exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == exit_code, said
    requeued = submit_folder / "requeued"
    assert (requeued.read_text().splitlines() if requeued.exists() else []) == ["requeue 7"] * requeues
    arguments = (run / "arguments").read_text()
    assert "--signals-to-handle SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 -m integral_pose train tiny.yaml" in arguments
