import numpy as np
import pytest

from integral_pose.contracts import Predictions
from integral_pose.errors import ConfigError, DataError
from integral_pose.evaluation.evaluator import evaluate
from integral_pose.evaluation.protocols import LSP_JOINTS, PROTOCOLS, find_protocol
from integral_pose.frames import parse_frame_name
from integral_pose.skeleton import HUMAN36M

NAMES = [
    "S9_Walking_1.54138969_000001.jpg",
    "S9_Walking_1.54138969_000064.jpg",
    "S9_Walking_1.54138969_000065.jpg",
    "S11_Photo_2.54138969_000129.jpg",
    "S1_Photo_2.54138969_000001.jpg",
]
FRAMES = [parse_frame_name(name) for name in NAMES]


@pytest.mark.parametrize(
    ("name", "rows"),
    [("all", [0, 1, 2, 3, 4]), ("course", [0, 1, 2, 3]), ("every-64th", [0, 2, 3]), ("s11-rigid", [3])],
)
def test_rows_by_hand(name, rows):
    assert PROTOCOLS[name].rows(FRAMES).tolist() == rows


def test_the_14_joints_leave_out_hip_spine_and_nose():
    assert set(HUMAN36M.names) - set(LSP_JOINTS) == {"Hip", "Spine", "Neck/Nose"}
    assert len(PROTOCOLS["3dhp"].joint_indices(HUMAN36M)) == 14


def test_scores_of_a_protocol_by_hand():
    true = np.random.default_rng(0).normal(0, 300, (5, 17, 3))
    predicted = true.copy()
    predicted[3, 1, 2] += 34  # of the chosen rows one has one joint 34 mm off
    predicted[4] += np.arange(17)[:, None] * 50  # not chosen
    scores = evaluate(Predictions(np.arange(5), predicted), true, NAMES, protocol=PROTOCOLS["every-64th"])
    assert (scores.num_samples, scores.num_sequences, scores.protocol) == (3, 2, "every-64th")
    assert scores.mpjpe_mm == pytest.approx(34 / 17 / 3)
    assert scores.per_subject_mm == pytest.approx({"S9": 0, "S11": 2})
    assert scores.per_camera_mm == pytest.approx({"54138969": 2 / 3})
    assert scores.interval_mm == pytest.approx([0, 2])


def test_joints_that_do_not_count_are_left_out():
    names = [f"TS{i}_Walking.8_000001.jpg" for i in (1, 2)]
    true = np.random.default_rng(0).normal(0, 300, (2, 17, 3))
    predicted = true.copy()
    predicted[:, HUMAN36M.names.index("Spine")] += 500
    predicted[:, HUMAN36M.names.index("LWrist"), 0] += 151
    scores = evaluate(Predictions(np.arange(2), predicted), true, names, protocol=PROTOCOLS["3dhp"])
    assert scores.metrics["pck_150"] == pytest.approx(13 / 14)
    assert set(scores.per_joint_mm) == set(LSP_JOINTS)


def test_names_that_do_not_say_and_protocols_that_are_not_there():
    with pytest.raises(DataError, match="chooses by subject and frame, which the image names do not say"):
        PROTOCOLS["every-64th"].rows([None])
    with pytest.raises(DataError, match="finds none of its images"):
        PROTOCOLS["3dhp"].rows(FRAMES)
    with pytest.raises(ConfigError, match="unknown protocol 'p1'. Known: all, course, every-64th"):
        find_protocol("p1")
