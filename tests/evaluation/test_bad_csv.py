"""Submissions as people send them, through the command line: each fault one line and status 3, the rest scored."""

from __future__ import annotations

import gzip
import os
import re

import h5py
import numpy as np
import pytest

from integral_pose.cli import main as cli
from integral_pose.evaluation.predictions_csv import csv_header, write_confidence_csv, write_predictions_csv
from integral_pose.skeleton import HUMAN36M
from tests.conftest import STANDING_MM

HEADER = ",".join(csv_header(HUMAN36M))


@pytest.fixture
def submission(tmp_path):
    """A folder with valid.h5 of three people and good.csv, 34 mm off in one joint of the first."""
    true_mm = STANDING_MM + np.random.default_rng(0).normal(0, 40, (3, 17, 3))
    with h5py.File(tmp_path / "valid.h5", "w") as file:
        file["pose3d"] = true_mm
    predicted_mm = true_mm - true_mm[:, :1]
    predicted_mm[0, 5, 0] += 51
    write_predictions_csv(tmp_path / "good.csv", predicted_mm, HUMAN36M)
    return tmp_path


def lines_of(submission):
    return (submission / "good.csv").read_text().splitlines()


def score(submission, content, capsys, name="p.csv"):
    """Status, standard output and standard error of scoring a file of that content."""
    (submission / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    status = cli.main(["score", str(submission / name), "--truth", str(submission / "valid.h5")])
    found = capsys.readouterr()
    return status, found.out, found.err.replace(f"{submission}/", "")


def changed(submission, value, row=2):
    """The good file with another value in the column RHip_x of one line."""
    lines = lines_of(submission)
    fields = lines[row].split(",")
    fields[4] = value
    return "\n".join([*lines[:row], ",".join(fields), *lines[row + 1 :]]) + "\n"


GOOD = {
    "as it is": lambda lines: "\n".join(lines) + "\n",
    "byte order mark": lambda lines: "\ufeff" + "\n".join(lines),
    "UTF-16 as Windows saves it": lambda lines: "\r\n".join(lines).encode("utf-16"),
    "Windows line ends": lambda lines: "\r\n".join(lines) + "\r\n",
    "old Macintosh line ends": lambda lines: "\r".join(lines),
    "blanks behind commas and a blank line": lambda lines: "\n".join(lines).replace(",", ", ") + "\n   \n",
    "names in quotes": lambda lines: '"' + lines[0].replace(",", '","') + '"\n' + "\n".join(lines[1:]),
    "all in quotes": lambda lines: "\n".join('"' + line.replace(",", '","') + '"' for line in lines),
    "Ids as floats": lambda lines: "\n".join([lines[0], *(line.replace(",", ".0,", 1) for line in lines[1:])]),
    "rows in another order": lambda lines: "\n".join([lines[0], *reversed(lines[1:])]),
}


@pytest.mark.parametrize("kind", GOOD)
def test_what_other_writers_write_is_scored(kind, submission, capsys):
    status, out, error = score(submission, GOOD[kind](lines_of(submission)), capsys)
    assert (status, error) == (0, "")
    assert out.startswith("MPJPE 1.00 mm ")


def test_whole_numbers_are_scored(submission, capsys):
    """Submissions cast to int16: up to a mm a coordinate is lost, nothing else."""
    rows = [line.split(",") for line in lines_of(submission)]
    cast = [rows[0], *([row[0], *(str(np.int16(float(x))) for x in row[1:])] for row in rows[1:])]
    status, out, error = score(submission, "\n".join(",".join(row) for row in cast), capsys)
    assert (status, error) == (0, "")
    assert 1 < float(out.split()[1]) < 2


BAD = {
    "empty": ("", "p.csv: the file is empty; expected a header line and one line an image"),
    "blank lines alone": ("\n \n", "p.csv: the file is empty"),
    "header alone": (HEADER + "\n", "p.csv: there is no row below the header"),
    "no text": (b"PK\3\4\0\0", "p.csv: not a text file (it holds NUL bytes); expected CSV as UTF-8"),
    "other encoding": (HEADER.encode("utf-16-le"), "p.csv: not a text file"),
    "Latin": (HEADER.replace("Hip", "Hüfte").encode("latin-1"), "p.csv: not a text file"),
    "a web page": ("<!DOCTYPE html><html><head><title>404 Not Found\n", "p.csv: column 1 of the header is '<!DOCTYPE"),
    "control characters": ("\x1b[2JId\n", r"p.csv: column 1 of the header is '\x1b[2JId', expected 'Id'"),
    "semicolons": (HEADER.replace(",", ";"), "p.csv: the columns are separated by ';', expected ','"),
    "tabulators": (HEADER.replace(",", "\t"), r"p.csv: the columns are separated by '\t', expected ','"),
    "other joints": (HEADER.replace("Neck/Nose", "Nose"), "p.csv: column 29 of the header is 'Nose_x', expected 'Ne"),
    "fewer joints": (
        ",".join(csv_header(HUMAN36M)[:43]), "p.csv: the header has 43 columns, expected 52; 'RShoulder_x' is",
    ),
    "more columns": (HEADER + ",Score", "p.csv: the header has 53 columns, expected 52\n"),
    "unbalanced quotes": (HEADER + '\n1,"' + "0,0\n" * 99, "p.csv, line 2: '"),
    "a field without end": (HEADER + '\n1,"' + "0" * 200_000, "p.csv, line 2: its quotes cannot be read (field larger"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_cannot_be_scored_is_one_line(kind, submission, capsys):
    content, message = BAD[kind]
    status, out, error = score(submission, content, capsys)
    assert (status, out) == (3, "")
    assert error.startswith(f"integral-pose score: {message}")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("NaN", "p.csv, line 3: RHip_x is 'NaN', expected a finite number"),
        ("", "p.csv, line 3: RHip_x is '', expected a finite number"),
        ("inf", "p.csv, line 3: RHip_x is 'inf'"),
        ("1,234.5", "p.csv, line 3: 53 columns, expected 52"),
        ('"1,234.5"', "p.csv, line 3: '1,234.5' has a comma inside quotes; numbers take no thousands separators"),
        ("1'234.5", 'p.csv, line 3: RHip_x is "1\'234.5", expected a finite number'),
        ("x" * 99, f"p.csv, line 3: RHip_x is '{'x' * 40}'.., expected a finite number"),
    ],
)
def test_a_value_that_is_no_number_names_line_and_column(value, message, submission, capsys):
    status, out, error = score(submission, changed(submission, value), capsys)
    assert (status, out) == (3, "")
    assert error.startswith(f"integral-pose score: {message}")
    assert error.count("\n") == 1


def test_rows_and_columns_that_are_wrong(submission, capsys):
    lines = lines_of(submission)
    order = [0, *range(4, 52), 1, 2, 3]
    for content, message in (
        ([*lines[:2], lines[3]], "p.csv: Id 2 is missing; 2 rows should have Ids 1 to 2"),
        (lines[:3], "p.csv has 2 rows, valid.h5 has 3; a prediction is needed for every image"),
        ([*lines, lines[3]], "p.csv: Id 3 stands there more than once"),
        (lines[1:], "p.csv: there is no header, the first line holds numbers; expected Id,Hip_x,Hip_y,.."),
        ([",".join(line.split(",")[i] for i in order) for line in lines],
         "p.csv: column 2 of the header is 'RHip_x', expected 'Hip_x' (the same columns in another order); the"),
    ):  # fmt: skip
        status, out, error = score(submission, "\n".join(content), capsys)
        assert (status, out) == (3, "")
        assert error.startswith(f"integral-pose score: {message}")
        assert error.count("\n") == 1


def test_compressed_files(submission, capsys):
    whole = gzip.compress((submission / "good.csv").read_bytes())
    for name in ("p.csv.gz", "p.csv"):  # by content, not by name
        assert score(submission, whole, capsys, name)[0] == 0
    for content in (whole[: len(whole) // 2], whole[:-8], whole + b"more"):
        status, _, error = score(submission, content, capsys, "p.csv.gz")
        assert status == 3
        assert error.startswith("integral-pose score: p.csv.gz: the gzip file is cut off or damaged (")
        assert error.count("\n") == 1


def test_what_is_no_file(submission, capsys):
    (submission / "folder.csv").mkdir()
    for name, message in (("folder.csv", "Is a directory"), ("none.csv", "No such file or directory")):
        assert cli.main(["score", str(submission / name), "--truth", str(submission / "valid.h5")]) == 3
        assert capsys.readouterr().err == f"integral-pose score: {submission / name}: cannot be read ({message})\n"


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("factor", "doubt"),
    [
        (1 / 1000, r"the largest coordinate is 0\.\d+\. Is the file in metres\? Expected mm\."),
        (1 / 25.4, r"the largest coordinate is \d+\.\d+\. Is the file in inches\? Expected mm\."),
        (1 / 10, r"the largest coordinate is \d+\.\d+\. Is the file in centimetres\? Expected mm\."),
        (0, r"every coordinate is that of the root joint\. Is the file a template\?"),
        (1000, r"the largest coordinate is \d+ mm from the root joint, farther than people reach\. Expected mm\."),
    ],
)
def test_another_unit_is_warned_of_in_one_line_and_scored(factor, doubt, submission, capsys):
    poses_mm = np.array([line.split(",")[1:] for line in lines_of(submission)[1:]], float).reshape(3, 17, 3)
    write_predictions_csv(submission / "q.csv", poses_mm * factor, HUMAN36M)
    status, out, error = score(submission, (submission / "q.csv").read_bytes(), capsys)
    assert status == 0
    assert out.startswith("MPJPE ")
    assert error.count("\n") == 1
    assert error.startswith("integral-pose: warning: p.csv: ")
    assert re.search(doubt, error)


def test_poses_away_from_the_origin_are_no_other_unit(submission, capsys):
    """Metres from the camera are not taken for inches: the root is subtracted first."""
    poses_mm = np.array([line.split(",")[1:] for line in lines_of(submission)[1:]], float).reshape(3, 17, 3)
    moved_mm = poses_mm + np.array([100.0, 200, 5500])
    rows = [f"{i + 1}," + ",".join(map(str, pose_mm.ravel())) for i, pose_mm in enumerate(moved_mm)]
    status, out, error = score(submission, "\n".join([HEADER, *rows]), capsys)
    assert (status, error) == (0, "")
    assert out.startswith("MPJPE 1.00 mm ")


@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz"])
def test_an_interrupted_writing_leaves_the_old_file(name, submission, monkeypatch):
    path = submission / name
    poses_mm = np.broadcast_to(STANDING_MM, (3, 17, 3))
    write_predictions_csv(path, poses_mm, HUMAN36M)
    old = path.read_bytes()
    present = sorted(entry.name for entry in submission.iterdir())

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)  # all is written, but not yet in its place
    with pytest.raises(KeyboardInterrupt):
        write_predictions_csv(path, 2 * poses_mm, HUMAN36M)
    with pytest.raises(KeyboardInterrupt):
        write_confidence_csv(path, np.zeros((3, 17, 2), np.float32), HUMAN36M)
    assert path.read_bytes() == old
    assert sorted(entry.name for entry in submission.iterdir()) == present
