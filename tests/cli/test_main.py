"""The command line: exit statuses, messages, and that what the README types can be typed."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest

from integral_pose import __version__, experiment
from integral_pose.cli import main as cli
from integral_pose.cli.arguments import parse
from integral_pose.errors import CheckpointError, DataError, Interrupted, NonFiniteLossError
from integral_pose.evaluation.csv_scores import score_csv
from integral_pose.evaluation.predictions_csv import write_predictions_csv
from integral_pose.skeleton import HUMAN36M

REPOSITORY = Path(__file__).parents[2]


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


def test_a_system_without_file_locks(monkeypatch, capsys):
    """Windows: one line, and no trace of a package that is missing."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["config", "x.yaml"]) == 2
    assert capsys.readouterr().err == "integral-pose: needs Linux or macOS; on Windows run it inside WSL\n"


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
    "arguments",
    [["--allow-change", "x.yaml", "a=1", "b=2"], ["x.yaml", "--allow-change", "a=1", "b=2"],
     ["x.yaml", "a=1", "--allow-change", "b=2"], ["x.yaml", "a=1", "b=2", "--allow-change"]],
)  # fmt: skip
def test_options_stand_anywhere(arguments):
    options = parse(cli.build_parser(), ["train", *arguments])
    assert (options.config, options.overrides, options.allow_change) == ("x.yaml", ["a=1", "b=2"], True)


@pytest.mark.parametrize(
    ("arguments", "name", "path"),
    [(["check-data", "x", "--sheet=~/a.png"], "out", "/home/me/a.png"),
     (["doctor", "--data=~"], "data", "/home/me"),
     (["predict", "m", "x.jpg", "--out=~/a", "--intrinsics=~/k.json"], "intrinsics", "/home/me/k.json"),
     (["score", "p.csv", "--truth=a~/t.h5"], "truth", "a~/t.h5")],
)  # fmt: skip
def test_options_know_the_home_folder(arguments, name, path, monkeypatch):
    """A shell expands `--out ~/a` and not `--out=~/a`, which made a folder called `~`."""
    monkeypatch.setenv("HOME", "/home/me")
    assert getattr(parse(cli.build_parser(), arguments), name) == Path(path)


@pytest.mark.parametrize(
    ("arguments", "unknown"),
    [
        (["train", "x.yaml", "--alow-change", "a=1"], "--alow-change"),
        (["score", "p.csv", "--truth", "t.h5", "q.csv"], "q.csv"),
        (["prepare", "c2f", "--source", "s", "--out", "o", "more"], "more"),
    ],
)
def test_what_no_command_takes_is_named(arguments, unknown, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert f"unrecognized arguments: {unknown}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "status"),
    [(DataError("x"), 3), (NonFiniteLossError("x"), 4), (CheckpointError("x"), 5), (Interrupted("x"), 75),
     (KeyboardInterrupt(), 130)],
)  # fmt: skip
def test_each_kind_of_fault_has_its_status(fault, status, tiny_yaml, monkeypatch, capsys):
    def train(config, **options):
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

    def test(path, changes, out):
        seen.append((path, changes))
        raise DataError("enough")

    monkeypatch.setattr("integral_pose.experiment.test", test)
    assert cli.main(["test", *arguments]) == 3
    assert seen == [(target, overrides)]


def test_score(tmp_path, capsys):
    true = np.random.default_rng(0).normal(0, 300, (2, 17, 3))
    predicted = true - true[:, :1]
    predicted[:, 5, 0] += 34
    write_predictions_csv(tmp_path / "p.csv", predicted, HUMAN36M)
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
        options = parse(cli.build_parser(), arguments)
    else:
        assert (REPOSITORY / program).stat().st_mode & 0o111, f"{program} cannot be run"
        if not program.startswith("./run_"):
            return
        command = {"./run_train.sh": "train", "./run_test.sh": "test"}[program]
        options = parse(cli.build_parser(), [command, *(arguments or ["configs/demo.yaml"])])
    if "config" in options:
        assert (REPOSITORY / options.config).is_file()


def test_score_by_protocol_against_another_as_json(tmp_path, capsys):
    true = np.random.default_rng(0).normal(0, 300, (4, 17, 3))
    near, far = true - true[:, :1], true - true[:, :1]
    near[:, 5, 0] += 34
    far[:, 5, 0] += 68
    write_predictions_csv(tmp_path / "near.csv", near, HUMAN36M)
    write_predictions_csv(tmp_path / "far.csv", far, HUMAN36M)
    with h5py.File(tmp_path / "valid.h5", "w") as file:
        file["pose3d"] = true
    names = [f"S{s}_Walking_1.54138969_{f:06d}.jpg" for s in (9, 11) for f in (1, 2)]
    (tmp_path / "valid_images.txt").write_text("\n".join(names) + "\n")
    command = ["score", str(tmp_path / "near.csv"), "--truth", str(tmp_path / "valid.h5"), "--protocol", "every-64th"]
    command += ["--against", str(tmp_path / "far.csv"), "--json", str(tmp_path / "scores.json")]
    assert cli.main(command) == 0
    text = capsys.readouterr().out
    assert "protocol every-64th: mpjpe_mm 2.00 mm" in text
    assert "95 % interval of it 2.00 to 2.00, over 2 sequences" in text
    assert "The protocol has 8,724 or 8,695 images, the latter without the corrupt video of S11, this set 2:" in text
    assert "far.csv: -2.00 mm, 95 % interval -2.00 to -2.00" in text
    found = json.loads((tmp_path / "scores.json").read_text())
    assert found["num_samples"] == 2
    assert found["less_the_other_mm"]["high"] == pytest.approx(-2, abs=1e-4)
    assert cli.main([*command[:5], "p1"]) == 2
    assert "unknown protocol 'p1'" in capsys.readouterr().err


def test_several_runs_in_one_table(tmp_path, capsys, monkeypatch):
    true = np.random.default_rng(0).normal(0, 300, (4, 17, 3))
    with h5py.File(tmp_path / "valid.h5", "w") as file:
        file["pose3d"] = true
    names = [f"S{s}_Walking_1.54138969_{f:06d}.jpg" for s in (9, 11) for f in (1, 2)]
    (tmp_path / "valid_images.txt").write_text("\n".join(names) + "\n")

    def several(targets, overrides, out):
        assert overrides == ["evaluation.flip=true"]
        results = []
        for number, target in enumerate(targets):
            poses = true - true[:, :1]
            poses[:, 5, 0] += 34 * (2 - number)
            csv = tmp_path / f"{target.name}.csv"
            write_predictions_csv(csv, poses, HUMAN36M)
            scores = score_csv(csv, tmp_path / "valid.h5")
            results.append(experiment.TestResult(target, csv, tmp_path / "valid.h5", scores, scores))
        return results

    monkeypatch.setattr("integral_pose.experiment.test_several", several)
    assert cli.main(["test", "runs/a", "runs/b", "evaluation.flip=true"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| runs")]
    assert [cell.strip() for cell in lines[0].split("|")][1:3] == ["runs/a", "4.00"]
    assert [cell.strip() for cell in lines[1].split("|")][5:7] == ["-2.00", "-2.00 to -2.00"]
