import gzip
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from integral_pose.errors import DataError
from integral_pose.evaluation.predictions_csv import read_predictions_csv, write_predictions_csv
from integral_pose.skeleton import HUMAN36M, Skeleton

pytestmark = pytest.mark.filterwarnings("ignore:.*farther than people reach")  # numbers here try the format

THREE = Skeleton(("Hip", "Neck/Nose", "LHip"), {"Neck/Nose": "Hip", "LHip": "Hip"}, ())
POSES_MM = np.array(
    [
        [[0, 0, 0], [123.76886, -11.5, 0.1], [1e-5, 1234567.0, -0.0]],
        [[1, 2, 3], [1, 2, 3], [101, 2.5, 2]],  # not root-relative: written so
    ],
    dtype=np.float32,
)
HEADER = "Id,Hip_x,Hip_y,Hip_z,Neck/Nose_x,Neck/Nose_y,Neck/Nose_z,LHip_x,LHip_y,LHip_z\n"
CSV = HEADER + "1,0,0,0,123.76886,-11.5,0.100000001,9.99999975e-06,1234567,0\n" + "2,0,0,0,0,0,0,100,0.5,-1\n"


def csv(tmp_path, text):
    path = tmp_path / "predictions.csv"
    path.write_bytes(text.encode())
    return path


def test_the_file_to_the_letter(tmp_path):
    write_predictions_csv(tmp_path / "p.csv", POSES_MM, THREE)
    assert (tmp_path / "p.csv").read_bytes() == CSV.encode()
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.csv"]


def test_the_header_of_human36m(tmp_path):
    write_predictions_csv(tmp_path / "p.csv", np.zeros((1, 17, 3)), HUMAN36M)
    header = (tmp_path / "p.csv").read_text().split("\n")[0]
    assert header.startswith("Id,Hip_x,Hip_y,Hip_z,RHip_x,")
    assert ",Thorax_z,Neck/Nose_x,Neck/Nose_y,Neck/Nose_z,Head_x," in header
    assert header.endswith(",RWrist_z")
    assert header.count(",") == 51


def test_gzip_by_name_with_the_same_bytes_at_any_time(tmp_path, monkeypatch):
    paths = tmp_path / "a.csv.gz", tmp_path / "b.csv.gz"
    write_predictions_csv(paths[0], POSES_MM, THREE)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    write_predictions_csv(paths[1], POSES_MM, THREE)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert gzip.decompress(paths[0].read_bytes()) == CSV.encode()
    np.testing.assert_array_equal(read_predictions_csv(paths[0], THREE), POSES_MM - POSES_MM[:, :1], strict=True)


@given(
    hnp.arrays(
        np.float32,
        (2, 2, 3),
        elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_nan=False),
    )
)
@settings(deadline=None, max_examples=50)
@pytest.mark.filterwarnings("ignore:.*in metres", "ignore:.*every coordinate is")
def test_float32_comes_back_to_the_bit(tmp_path_factory, joints):
    path = tmp_path_factory.mktemp("csv") / "p.csv"
    poses = np.concatenate([np.zeros((2, 1, 3), np.float32), joints], axis=1)
    write_predictions_csv(path, poses, THREE)
    np.testing.assert_array_equal(read_predictions_csv(path, THREE), poses, strict=True)


def test_more_rows_than_one_write_holds(tmp_path):
    poses = np.random.default_rng(0).normal(0, 400, (10_000, 17, 3)).astype(np.float32)
    poses[:, 0] = 0
    write_predictions_csv(tmp_path / "p.csv", poses, HUMAN36M)
    np.testing.assert_array_equal(read_predictions_csv(tmp_path / "p.csv", HUMAN36M), poses)


def test_what_cannot_be_written_leaves_no_file(tmp_path):
    path = tmp_path / "p.csv"
    bad = POSES_MM.copy()
    bad[1, 2, 0] = np.nan
    with pytest.raises(DataError, match="not written, the pose of row 1 is NaN or infinite"):
        write_predictions_csv(path, bad, THREE)
    with pytest.raises(DataError, match=r"expected poses \(N, 17, 3\), found \(2, 3, 3\)"):
        write_predictions_csv(path, POSES_MM, HUMAN36M)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        CSV,
        CSV.rstrip("\n"),
        CSV.replace("\n", "\r\n"),
        "\ufeff" + CSV,
        CSV + "\n\n",
        HEADER + "".join(reversed(CSV[len(HEADER) :].splitlines(keepends=True))),
    ],
    ids=["ours", "no last line end", "crlf", "byte order mark", "empty lines at the end", "other row order"],
)
def test_files_of_other_writers_are_read(tmp_path, text):
    np.testing.assert_array_equal(read_predictions_csv(csv(tmp_path, text), THREE), POSES_MM - POSES_MM[:, :1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        (HEADER, "no row below the header"),
        (CSV.replace("Neck/Nose_y", "Neck_y"), "column 6 of the header is 'Neck_y', expected 'Neck/Nose_y'; the"),
        (CSV.replace("Id,", ""), "column 1 of the header is 'Hip_x', expected 'Id'"),
        (CSV.replace("LHip_x,LHip_y", "LHip_y,LHip_x"), r"'LHip_y', expected 'LHip_x' \(the same columns in an"),
        (CSV.replace("LHip_z", "LHip_z,More"), "the header has 11 columns, expected 10"),
        (CSV.replace("1234567", "1e3x"), "line 2: LHip_y is '1e3x', expected a finite number"),
        (CSV.replace("1234567", ""), "line 2: LHip_y is '', expected a finite number"),
        (CSV.replace("1234567", "nan"), "line 2: LHip_y is 'nan', expected a finite number"),
        (CSV.replace("1234567", "1e39"), "line 2: LHip_y is '1e39', expected a finite number"),
        (CSV.replace("1234567", "1_2"), "line 2: LHip_y is '1_2', expected a finite number"),
        (CSV.replace("\n2,", "\n\n2,").replace(",100,", ",?,"), "line 4: LHip_x is '\\?'"),
        (CSV.replace(",-1\n", "\n"), "line 3: 9 columns, expected 10"),
        (CSV.replace(",-1\n", "\n").replace("1234567,", ""), "line 2: 9 columns, expected 10"),
        (CSV.replace("\n2,", "\n1,"), "Id 1 stands there more than once"),
        (CSV.replace("\n2,", "\n3,"), "Id 2 is missing; 2 rows should have Ids 1 to 2"),
        (CSV.replace("\n1,", "\n0,"), "there is an Id 0; Ids count from 1"),
        (CSV.replace("\n2,", "\n1.5,"), "Id 1.5 is no whole number"),
    ],
)
def test_faults_are_named(tmp_path, text, message):
    path = csv(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        read_predictions_csv(path, THREE)
    assert str(caught.value).startswith(str(path))


def test_a_cut_gzip_file_and_files_that_are_no_text(tmp_path):
    whole = gzip.compress(CSV.encode())
    path = tmp_path / "p.csv.gz"
    for content in (whole[:-20], whole[:12] + b"\0\0\0" + whole[15:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="the gzip file is cut off or damaged"):
            read_predictions_csv(path, THREE)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a text file"):
        read_predictions_csv(path, THREE)
    with pytest.raises(DataError, match=r"nothing.csv: cannot be read \(No such file"):
        read_predictions_csv(tmp_path / "nothing.csv", THREE)


def test_metres_are_warned_of(tmp_path):
    write_predictions_csv(tmp_path / "p.csv", POSES_MM / 1e6, THREE)
    with pytest.warns(UserWarning, match=r"largest coordinate is 1.23457. Is the file in metres\? Expected mm"):
        read_predictions_csv(tmp_path / "p.csv", THREE)


def test_the_reader_knows_seventeen_joints_by_default(tmp_path):
    with pytest.raises(DataError, match="column 5 of the header is 'Neck/Nose_x', expected 'RHip_x'"):
        read_predictions_csv(csv(tmp_path, CSV), HUMAN36M)
    assert HUMAN36M.num_joints == 17
