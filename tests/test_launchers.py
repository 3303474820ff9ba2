"""The scripts with stand-ins for what they start: what is started again, put back into the queue, or neither."""

from __future__ import annotations

import os
import shutil
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
starts="$(cat RUN/starts 2>/dev/null || true)x"
echo "$starts" > RUN/starts
case FATE in
    lost) [ "$starts" = xxx ] && state done 0 && exit 0; state failed 6; exit 1 ;;
    lost_for_good) state failed 6; exit 1 ;;
    done) state done 0; exit 0 ;;
    failed) state failed 4; exit 1 ;;
esac
touch RUN/ready
while true; do sleep 0.05; done
"""


SRUN = """#!/usr/bin/env bash
while [[ $1 == -* ]]; do
    echo "$1" >> FOLDER/srun
    shift
done
exec "$@"
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
    ours = (
        f'#!/usr/bin/env bash\n[ "$1" != processes ] || {{ echo 2; exit; }}\n'
        f'PYTHONPATH={REPOSITORY} exec {sys.executable} -m integral_pose "$@"\n'
    )
    write_program(programs / "integral-pose", ours)
    write_program(programs / "srun", SRUN.replace("FOLDER", str(tmp_path)))
    write_program(programs / "scancel", "#!/usr/bin/env bash\nexit 1\n")  # no such step: the script has another way
    scontrol = f'#!/usr/bin/env bash\n[ "$1" = show ] && echo node1 || echo "$@" >> {tmp_path}/requeued\n'
    write_program(programs / "scontrol", scontrol)
    return tmp_path


@pytest.mark.parametrize(
    ("fate", "number", "exit_code", "requeues"),
    [
        ("signal", signal.SIGUSR1, 0, 1),
        ("signal", signal.SIGTERM, 0, 1),
        ("failed", None, 4, 0),
        ("done", None, 0, 0),
        ("lost", None, 0, 0),
        ("lost_for_good", None, 6, 0),
    ],
)
def test_slurm_script(fate: str, number: int | None, exit_code: int, requeues: int, submit_folder: Path) -> None:
    run = submit_folder / "run"
    text = TORCHRUN.replace("RUN", str(run)).replace("FATE", fate)
    write_program(submit_folder / ".venv/bin/torchrun", text)
    environment = {**os.environ, "SLURM_SUBMIT_DIR": str(submit_folder), "SLURM_JOB_NODELIST": "node1",
                   "SLURM_JOB_ID": "7", "SLURM_NNODES": "1", "SLURM_GPUS_ON_NODE": "3"}  # fmt: skip
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
    starts = {"lost": 3, "lost_for_good": 4}.get(fate, 1)
    assert len((run / "starts").read_text().strip()) == starts
    assert said.count("a worker or process was lost; restart") == starts - 1
    arguments = (run / "arguments").read_text()
    assert (
        "--signals-to-handle SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,SIGUSR2,SIGXCPU -m integral_pose train tiny.yaml"
        in arguments
    )
    assert "--nproc-per-node 2 " in arguments
    assert "--rdzv-endpoint node1:20007 " in arguments


def test_slurm_jobs_on_one_node_have_their_own_ports_and_all_cores(submit_folder: Path) -> None:
    run = submit_folder / "run"
    text = TORCHRUN.replace("RUN", str(run)).replace("FATE", "done")
    write_program(submit_folder / ".venv/bin/torchrun", text)
    ports = []
    for job in ("7", "8"):
        environment = {**os.environ, "SLURM_SUBMIT_DIR": str(submit_folder), "SLURM_JOB_NODELIST": "node1",
                       "SLURM_JOB_ID": job, "SLURM_NNODES": "1", "SLURM_CPUS_PER_TASK": "24"}  # fmt: skip
        subprocess.run(
            ["bash", str(REPOSITORY / "scripts/slurm_train.sbatch"), "tiny.yaml"], env=environment, check=True
        )
        ports.append((run / "arguments").read_text().split("node1:")[1].split()[0])
        (run / "starts").unlink()
    assert ports[0] != ports[1]
    assert (submit_folder / "srun").read_text().split() == ["--kill-on-bad-exit=1", "--cpus-per-task=24"] * 2


TRAINING = """#!/usr/bin/env bash
# Trains with the exit statuses of the file `fates`, one a start; 'wait' stands for 6 after a signal.
cd "$(dirname "$0")/../.."
next_fate() {
    echo "$1" >> calls
    fate="$(head -n 1 fates)"
    sed -i 1d fates
    if [ "$fate" = wait ]; then
        trap 'fate=6' TERM
        touch ready
        while [ "$fate" = wait ]; do sleep 0.05; done
    fi
    echo "$fate" > status
}
"""
ALONE = """case "$1" in
    config) echo run ;;
    processes) cat processes ;;
    train) next_fate train; exit "$fate" ;;
    status) exit "$(cat status)" ;;
    *) echo "$1" >> calls ;;
esac
"""
TOGETHER = 'next_fate torchrun; [ "$fate" = 0 ]\n'  # as torchrun, which makes every exit status 1


@pytest.fixture
def launcher(tmp_path: Path) -> Path:
    (tmp_path / "run_train.sh").write_text((REPOSITORY / "run_train.sh").read_text())
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / "scripts").mkdir()
    shutil.copy(REPOSITORY / "scripts/passing_signals_on.sh", tmp_path / "scripts")
    write_program(tmp_path / "scripts/setup.sh", "#!/usr/bin/env bash\n")
    write_program(tmp_path / ".venv/bin/integral-pose", TRAINING + ALONE)
    write_program(tmp_path / ".venv/bin/torchrun", TRAINING + TOGETHER)
    return tmp_path


def launch(folder: Path, fates: str, processes: int) -> subprocess.Popen[str]:
    (folder / "fates").write_text(fates.replace(" ", "\n") + "\n")
    (folder / "processes").write_text(f"{processes}\n")
    # What it prints is no count: of slices of a GPU, of errors, of GPUs that are hidden.
    write_program(folder / ".venv/bin/nvidia-smi", "#!/usr/bin/env bash\necho GPU\necho MIG\necho MIG\n")
    environment = {key: value for key, value in os.environ.items() if key != "WORLD_SIZE"}
    command = ["bash", str(folder / "run_train.sh"), "tiny.yaml"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    ("fates", "exit_code", "starts"),
    [("0", 0, 1), ("6 0", 0, 2), ("6 6 6 0", 0, 4), ("6 6 6 6 0", 6, 4), ("3 0", 3, 1), ("75 0", 75, 1), ("6 3", 3, 2)],
)
def test_a_training_that_lost_a_worker_is_started_again(
    fates: str, exit_code: int, starts: int, processes: int, launcher: Path
) -> None:
    process = launch(launcher, fates, processes)
    _, said = process.communicate(timeout=60)
    assert process.returncode == exit_code, said
    trained = "torchrun" if processes > 1 else "train"
    assert (launcher / "calls").read_text().split() == [trained] * starts + ["test"] * (exit_code == 0)
    assert [f"restart {i} of 3" in said for i in range(1, 4)] == [i < starts for i in range(1, 4)]


def test_a_shell_that_does_not_find_the_program_is_told_how(launcher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = f"For integral-pose in your own shell: source {launcher}/.venv/bin/activate\n"
    for path, said in (("/usr/bin:/bin", words), (f"{launcher}/.venv/bin:/usr/bin:/bin", "")):
        monkeypatch.setenv("PATH", path)
        process = launch(launcher, "0", 1)
        assert process.communicate(timeout=60)[1] == said
        assert process.returncode == 0


@pytest.mark.parametrize("processes", [1, 2])
def test_nothing_is_started_again_after_a_signal(processes: int, launcher: Path) -> None:
    process = launch(launcher, "wait 0", processes)
    end = time.monotonic() + 60
    while not (launcher / "ready").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 6, said
    assert len((launcher / "calls").read_text().split()) == 1
