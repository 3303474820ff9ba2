import subprocess
import sys

import h5py
import numpy as np
import pytest

from integral_pose.contracts import Predictions
from integral_pose.errors import DataError
from integral_pose.evaluation.csv_scores import score_csv
from integral_pose.evaluation.predictions_csv import write_predictions_csv
from integral_pose.evaluation.scores import score_predictions
from integral_pose.skeleton import HUMAN36M

NAMES = ["S9_Walking_1.54138969_000001.jpg", "S11_TakingPhoto.54138969_000001.jpg"]


@pytest.fixture
def files(tmp_path):
    """A CSV of two poses 10 mm off in one joint each, its labels away from the origin, and the image list."""
    true = np.random.default_rng(0).normal(0, 300, (2, 17, 3)).astype(np.float32)
    predicted = true - true[:, :1]
    predicted[0, 3, 1] += 17
    predicted[1, 4, 2] += 34
    with h5py.File(tmp_path / "valid.h5", "w") as file:
        file["pose3d"] = true
    (tmp_path / "valid_images.txt").write_text("\n".join(NAMES) + "\n")
    write_predictions_csv(tmp_path / "p.csv", predicted, HUMAN36M)
    return tmp_path


def test_score_by_hand(files):
    scores = score_csv(files / "p.csv", files / "valid.h5")
    assert scores.mpjpe_mm == pytest.approx(1.5, abs=1e-4)
    assert scores.per_action_mm == pytest.approx({"Photo": 2, "Walking": 1}, abs=1e-4)
    assert scores.per_subject_mm == pytest.approx({"S9": 1, "S11": 2}, abs=1e-4)


def test_a_csv_scores_as_the_poses_in_memory_do_to_the_last_bit(files):
    poses = np.random.default_rng(1).normal(0, 300, (2, 17, 3)).astype(np.float32)
    poses[:, 0] = 0
    write_predictions_csv(files / "p.csv.gz", poses, HUMAN36M)
    with h5py.File(files / "valid.h5") as file:
        expected = score_predictions(Predictions(np.arange(2), poses), file["pose3d"][()], NAMES, HUMAN36M)
    assert score_csv(files / "p.csv.gz", files / "valid.h5") == expected


def test_labels_in_metres_are_not_scored_as_mm(files):
    with h5py.File(files / "valid.h5", "r+") as file:
        file["pose3d"][...] /= 1000
    with pytest.raises(DataError, match=r"valid\.h5: all bones together are .* long, expected about 4,100 mm"):
        score_csv(files / "p.csv", files / "valid.h5")


def test_without_the_image_list_there_are_no_actions(files):
    (files / "valid_images.txt").unlink()
    scores = score_csv(files / "p.csv", files / "valid.h5")
    assert scores.per_action_mm == {}
    assert scores.mpjpe_mm == pytest.approx(1.5, abs=1e-4)


def test_other_counts_name_both_files(files):
    write_predictions_csv(files / "p.csv", np.full((3, 17, 3), 50.0) * np.arange(17)[:, None], HUMAN36M)
    with pytest.raises(DataError, match=r"p\.csv has 3 rows, .*valid\.h5 has 2"):
        score_csv(files / "p.csv", files / "valid.h5")


def test_an_image_list_of_another_length(files):
    (files / "valid_images.txt").write_text(NAMES[0] + "\n")
    with pytest.raises(DataError, match=r"valid_images\.txt has 1 lines, .*valid\.h5 has 2 rows"):
        score_csv(files / "p.csv", files / "valid.h5")


def test_labels_that_cannot_be_read(files):
    with pytest.raises(DataError, match=r"none\.h5: there is no such file"):
        score_csv(files / "p.csv", files / "none.h5")
    (files / "valid.h5").write_bytes(b"text")
    with pytest.raises(DataError, match=r"valid\.h5: is damaged, cut short or no HDF5 file"):
        score_csv(files / "p.csv", files / "valid.h5")
    for name, shape, message in (
        ("pose2d", (2, 17, 2), "has no data set 'pose3d'; it has: pose2d"),
        ("pose3d", (2, 16, 3), r"'pose3d' has the shape \(2, 16, 3\), expected \(N, 17, 3\)"),
    ):
        with h5py.File(files / "valid.h5", "w") as file:
            file[name] = np.zeros(shape)
        with pytest.raises(DataError, match=message):
            score_csv(files / "p.csv", files / "valid.h5")


def test_scoring_loads_neither_torch_nor_matplotlib(files):
    """A leaderboard's machine has NumPy and h5py; the whole way is run, so a late import shows too."""
    code = (
        "import sys\n"
        "from integral_pose.evaluation import csv_scores, text_tables\n"
        f"scores = csv_scores.score_csv({str(files / 'p.csv')!r}, {str(files / 'valid.h5')!r})\n"
        "text_tables.scores_table(scores)\n"
        "heavy = {'torch', 'torchvision', 'matplotlib', 'tqdm', 'PIL', 'yaml', 'pydantic'} & sys.modules.keys()\n"
        "sys.exit(f'imported {sorted(heavy)}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
