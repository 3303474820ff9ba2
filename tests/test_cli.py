"""The command line: exit statuses, messages, and that what the README types can be typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest

from integral_pose import __version__, cli
from integral_pose.errors import CheckpointError, DataError, Interrupted, NonFiniteLossError
from integral_pose.evaluation.report import write_predictions_csv

REPOSITORY = Path(__file__).parent.parent


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert all(f"\n    {command} " in text for command in ("prepare", "train", "test", "score", "config"))


def test_version(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"integral-pose {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["train"], "the following arguments are required: CONFIG"),
        (["score", "p.csv"], "the following arguments are required: --truth"),
        (["prepare", "synthetic"], "the following arguments are required: --out"),
        (["prepare", "synthetic", "--out", "x", "--train", "0"], "argument --train: expected at least 1, found 0"),
        (
            ["prepare", "synthetic", "--out", "x", "--workers", "two"],
            "argument --workers: expected a whole number, found 'two'",
        ),
    ],
)
def test_wrong_usage(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_configuration_with_origins(tiny_yaml, capsys):
    assert cli.main(["config", str(tiny_yaml), "trainer.batch_size=2"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^  batch_size: 2 +# command line$", text, re.MULTILINE)
    assert re.search(rf"^seed: 0 +# {re.escape(str(tiny_yaml))}:2$", text, re.MULTILINE)


def test_one_value_for_scripts(tiny_yaml, course_root, capsys):
    assert cli.main(["config", "--get", "data.root", str(tiny_yaml)]) == 0
    assert capsys.readouterr().out == f"{course_root}\n"
    assert cli.main(["config", str(tiny_yaml), "trainer.batch_size=9", "--get", "trainer.batch_size"]) == 0
    assert capsys.readouterr().out == "9\n"
    assert cli.main(["config", "--get", "data.rot", str(tiny_yaml)]) == 2
    assert capsys.readouterr().err == "integral-pose config: there is no key 'data.rot'; did you mean 'data.root'?\n"


def test_an_unknown_key(tiny_yaml, capsys):
    assert cli.main(["train", str(tiny_yaml), "trainer.batchsize=2"]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err == (
        "integral-pose train: command line: unknown key 'trainer.batchsize'; did you mean 'trainer.batch_size'?\n"
    )


@pytest.mark.parametrize(
    ("fault", "status"),
    [(DataError("x"), 3), (NonFiniteLossError("x"), 4), (CheckpointError("x"), 5), (Interrupted("x"), 75),
     (KeyboardInterrupt(), 130)],
)  # fmt: skip
def test_each_kind_of_fault_has_its_status(fault, status, tiny_yaml, monkeypatch, capsys):
    def train(config):
        raise fault

    monkeypatch.setattr("integral_pose.experiment.train", train)
    assert cli.main(["train", str(tiny_yaml)]) == status
    assert capsys.readouterr().err in ("integral-pose train: x\n", "integral-pose train: stopped\n")


def test_a_missing_data_set_is_named_before_anything_is_made(tiny_yaml, tmp_path, capsys):
    assert cli.main(["train", str(tiny_yaml), "data.root=nowhere"]) == 3
    assert capsys.readouterr().err.startswith("integral-pose train: data.root nowhere: there is no such folder. Give")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "target", "overrides"),
    [
        ([], None, []), (["runs/x"], Path("runs/x"), []), (["data.root=d"], None, ["data.root=d"]),
        (["runs/x", "a=1", "b=2"], Path("runs/x"), ["a=1", "b=2"]), (["a=1", "b=2"], None, ["a=1", "b=2"]),
    ],
)  # fmt: skip
def test_the_run_to_test_may_be_left_out(arguments, target, overrides, monkeypatch):
    seen = []

    def test(path, changes):
        seen.append((path, changes))
        raise DataError("enough")

    monkeypatch.setattr("integral_pose.experiment.test", test)
    assert cli.main(["test", *arguments]) == 3
    assert seen == [(target, overrides)]


def test_score(tmp_path, capsys):
    true = np.random.default_rng(0).normal(0, 300, (2, 17, 3))
    predicted = true - true[:, :1]
    predicted[:, 5, 0] += 34
    write_predictions_csv(tmp_path / "p.csv", predicted)
    with h5py.File(tmp_path / "valid.h5", "w") as file:
        file["pose3d"] = true
    assert cli.main(["score", str(tmp_path / "p.csv"), "--truth", str(tmp_path / "valid.h5")]) == 0
    assert re.search(r"\b2\.00\b", capsys.readouterr().out)
    assert cli.main(["score", str(tmp_path / "none.csv"), "--truth", str(tmp_path / "valid.h5")]) == 3
    assert "none.csv" in capsys.readouterr().err


def readme_commands():
    """Lines of the README's code blocks that are commands of ours."""
    blocks = re.findall(
        r"^```(?:bash|sh)?\n(.*?)^```", (REPOSITORY / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if re.match(r"(\./run_|integral-pose |scripts/)", line)]


def test_the_readme_has_commands():
    assert any(line.startswith("./run_train.sh") for line in readme_commands())
    assert any(line.startswith("integral-pose score") for line in readme_commands())


@pytest.mark.parametrize("line", readme_commands())
def test_what_the_readme_types_can_be_typed(line):
    program, *arguments = shlex.split(line, comments=True)
    if program == "integral-pose":
        options = cli._parser().parse_args(arguments)
    else:
        assert (REPOSITORY / program).stat().st_mode & 0o111, f"{program} cannot be run"
        if not program.startswith("./run_"):
            return
        command = {"./run_train.sh": "train", "./run_test.sh": "test"}[program]
        options = cli._parser().parse_args([command, *(arguments or ["configs/demo.yaml"])])
    if "config" in options:
        assert (REPOSITORY / options.config).is_file()
