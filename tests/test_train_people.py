"""`scripts/train_people.sh`: every part once, in its order, from where it stopped; and one whole way in small."""

from __future__ import annotations

import io
import os
import re
import select
import shutil
import signal
import subprocess
import time
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from integral_pose.cli import main as cli
from integral_pose.weights.stored_network import read_network

REPOSITORY = Path(__file__).parent.parent
OURS = """#!/usr/bin/env bash
cd "$(dirname "$0")/../.."
case "$1 $2 $3" in
    "config --get data.root") echo data ;;
    "config --get run_dir") echo out ;;
    prepare*) echo "$@" >> calls; exec bash prepare ;;
    *) echo "$@" >> calls ;;
esac
"""
RUN_TRAIN = """#!/usr/bin/env bash
echo train "$@" >> calls
for word in "$@"; do [[ "$word" != run_dir=* ]] || run="${word#run_dir=}"; done
fate="$(head -n 1 fates)"
sed -i 1d fates
if [ "$fate" = wait ]; then
    trap 'exit 75' TERM
    touch ready
    for ((i = 0; i < 600; i++)); do sleep 0.05; done
fi
[ "$fate" != work ] || for ((i = 0; i < 40000; i++)); do :; done
[ "$fate" = 0 ] || [ "$fate" = work ] || exit "$fate"
mkdir -p "$run"
echo '  "device": "cpu",' > "$run/provenance.json"
echo '{"state": "done"}' > "$run/status.json"
touch "$run/scores.json"
"""


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The script, with stand-ins for what it starts."""
    (tmp_path / "scripts").mkdir()
    for name in ("train_people.sh", "passing_signals_on.sh"):
        shutil.copy(REPOSITORY / "scripts" / name, tmp_path / "scripts")
    write_program(tmp_path / "scripts/setup.sh", "#!/usr/bin/env bash\n")
    write_program(tmp_path / "run_train.sh", RUN_TRAIN)
    write_program(tmp_path / ".venv/bin/integral-pose", OURS)
    (tmp_path / "prepare").write_text("mkdir data\n")
    (tmp_path / "fates").write_text("0\n" * 5)
    return tmp_path


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if key != "INTEGRAL_POSE_SAMPLES"}
    command = ["bash", str(folder / "scripts/train_people.sh"), *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def new_calls(folder: Path) -> list[str]:
    lines = (folder / "calls").read_text().splitlines() if (folder / "calls").exists() else []
    (folder / "calls").unlink(missing_ok=True)
    return lines


RENDER = "prepare synthetic --out data --preset people-3"
FIRST = "train configs/people.yaml seed=1 run_dir=out/cycle1"
SECOND = "train configs/people.yaml seed=1 run_dir=out/cycle2 model.init=out/cycle1 model.pretrained=null"
EXPORT = "export out/cycle{} --format model --licence MIT --out out/people.pt"


def test_what_is_done_is_left_out_and_a_new_cycle_begins_from_the_one_before(folder: Path) -> None:
    code, out, err = end(start(folder, "seed=1"))
    assert (code, err) == (0, "")
    assert new_calls(folder) == [RENDER, FIRST, EXPORT.format(1)]
    pattern = (
        r"  core-hours: 0\.00 rendering, 0\.00 training and scoring \(1 cycles\); trained on cpu; this machine: \d+ x"
    )
    assert re.match(pattern, out)
    assert end(start(folder, "seed=1"))[0] == 0
    assert new_calls(folder) == [EXPORT.format(1)]
    assert end(start(folder, "--cycles", "2", "seed=1"))[0] == 0
    assert new_calls(folder) == [SECOND, EXPORT.format(2)]


def test_processor_time_is_added_up_over_calls(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out/cycle1.core_seconds").write_text("1800.5 0.25\n1700.25 99\n")
    (folder / "out/rendering.core_seconds").write_text("0,9 0,9\n" * 500)  # as another language writes them
    assert "core-hours: 0.25 rendering, 1.00 training and scoring" in end(start(folder, "seed=1"))[1]
    assert len((folder / "out/cycle1.core_seconds").read_text().splitlines()) == 3
    (folder / "fates").write_text("work\n")
    assert end(start(folder, "--cycles", "2"))[0] == 0
    user, system = map(float, (folder / "out/cycle2.core_seconds").read_text().split())
    assert 0.02 < user < 10
    assert 0 <= system < 10


def test_a_part_that_fails_ends_all_with_its_status(folder: Path) -> None:
    (folder / "fates").write_text("0\n4\n75\n0\n")
    assert end(start(folder, "--cycles", "2", "seed=1"))[0] == 4
    assert new_calls(folder) == [RENDER, FIRST, SECOND]
    assert end(start(folder, "--cycles", "2", "seed=1"))[0] == 75
    assert new_calls(folder) == [SECOND]
    assert end(start(folder, "--cycles", "2", "seed=1"))[0] == 0
    assert new_calls(folder) == [SECOND, EXPORT.format(2)]
    shutil.rmtree(folder / "data")
    (folder / "prepare").write_text("exit 3\n")
    assert end(start(folder, "--render", "--train 40  --valid 8"))[0] == 3
    assert new_calls(folder) == ["prepare synthetic --out data --train 40 --valid 8"]


def leave(folder: Path, seconds: int, worth_a_start: int) -> None:
    """So many of three minutes, and what is the least to begin with."""
    script = folder / "scripts/train_people.sh"
    text = script.read_text().replace("for_scoring=60", f"for_scoring={180 - seconds}")
    script.write_text(text.replace("worth_a_start=60", f"worth_a_start={worth_a_start}"))


def test_minutes_are_what_is_left_of_them(folder: Path) -> None:
    assert end(start(folder, "--minutes", "9", "seed=1"))[0] == 0
    _, trained, _ = new_calls(folder)
    given = re.fullmatch(re.escape(FIRST) + r" trainer\.max_time=(\d+)s", trained)
    assert given is not None
    assert 460 <= int(given[1]) <= 480  # a minute is for scoring
    shutil.rmtree(folder / "data")
    leave(folder, 6, worth_a_start=4)
    (folder / "prepare").write_text("sleep 3.1\nmkdir data\n")
    code, _, err = end(start(folder, "--minutes", "3", "--cycles", "2"))
    assert (code, err) == (75, "train_people.sh: 3 minutes are over; start it again, and it goes on\n")
    assert new_calls(folder) == [RENDER]  # which was done before, and training is not begun


def test_a_rendering_beyond_the_minutes_is_stopped(folder: Path) -> None:
    leave(folder, 3, worth_a_start=1)
    (folder / "prepare").write_text("exec sleep 60\n")
    began = time.monotonic()
    assert end(start(folder, "--minutes", "3"))[0] == 75
    assert time.monotonic() - began < 30
    assert new_calls(folder) == [RENDER]


def test_a_signal_reaches_the_training(folder: Path) -> None:
    (folder / "fates").write_text("wait\n")
    process = start(folder)
    limit = time.monotonic() + 60
    while not (folder / "ready").exists():
        assert time.monotonic() < limit
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert end(process)[0] == 75
    assert (folder / "out/cycle1.core_seconds").read_text().count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cycles", "0"], "--cycles is 0, expected a number from 1 to 99"),
        (["--minutes", "2"], "--minutes is 2, expected 3 or more"),
        (["--minutes"], "--minutes needs a value"),
        (["--cycle", "2"], "unknown option --cycle; known: --cycles, --minutes, --render"),
    ],
)
def test_a_wrong_option(arguments: list[str], message: str, folder: Path) -> None:
    code, _, err = end(start(folder, *arguments))
    assert code == 2
    assert message in err
    assert new_calls(folder) == []


TINY = [
    "data.root=people", "run_dir=out", "data.image_size=[64, 64]", "data.workers=0", "data.epoch_images=32",
    "data.val_limit=2", "model.backbone=resnet18", "model.pretrained=null", "model.freeze=none",
    "model.deconv_channels=[8]", "model.volume_depth=4", "trainer.batch_size=16", "trainer.device=cpu",
    "stages=[{epochs: 1, learning_rate: 1e-3}]", "evaluation.batch_size=8",
]  # fmt: skip


# A program that has the test run the command, since starting Python anew for each takes most of the time.
ASKING = """#!/usr/bin/env bash
printf '%s\\0' "$@" > requests
read -r status < statuses
cat said
exit "$status"
"""


def answer(process: subprocess.Popen[str], folder: Path) -> None:
    """Run the commands that ASKING is called with until the script ends."""
    requests = os.open(folder / "requests", os.O_RDWR | os.O_NONBLOCK)
    while process.poll() is None:
        if select.select([requests], [], [], 0.02)[0]:
            words = os.read(requests, 65536).decode().split("\0")[:-1]
            with redirect_stdout(io.StringIO()) as said:
                status = cli.main(words)
            (folder / "said").write_text(said.getvalue())
            (folder / "statuses").write_text(f"{status}\n")
    os.close(requests)


def test_from_rendering_to_a_model_file(folder: Path, tiny_backbone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(folder / ".venv/bin/integral-pose", ASKING)
    shutil.copy(REPOSITORY / "run_train.sh", folder)
    shutil.copytree(REPOSITORY / "configs", folder / "configs")
    for name in ("requests", "statuses"):
        os.mkfifo(folder / name)
    monkeypatch.chdir(folder)
    process = start(folder, "--cycles", "2", "--render", "--train 40 --valid 8 --workers 1", *TINY)
    answer(process, folder)
    code, out, err = end(process)
    assert code == 0, err
    card = read_network(folder / "out/people.pt").description.card
    assert card is not None
    assert (card.data, card.images_seen, card.licence) == ("people", 64, "MIT")
    assert card.test_mm is not None
    assert "trained on 64 images of people, MIT; MPJPE (with --flip)" in out
