from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from integral_pose.contracts import Predictions
from integral_pose.datasets.human36m_table import Choice, list_videos
from integral_pose.datasets.recording import image_name
from integral_pose.errors import ConfigError, DataError
from integral_pose.evaluation.protocols import LSP_JOINTS, PROTOCOLS, find_protocol
from integral_pose.evaluation.scores import score_predictions
from integral_pose.io.frame_names import parse_frame_name
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


@pytest.mark.parametrize(
    ("name", "choice", "count", "is_comparable"),
    [
        ("course", Choice(), 10_987, True),
        ("every-64th", Choice(test_every=64, corrupt_video="keep"), 8_724, True),
        ("every-64th", Choice(test_every=64), 8_695, True),
        ("s11-rigid", Choice(test_every=64, corrupt_video="keep"), 3_712, True),
        ("s11-rigid", Choice(test_every=64), 3_683, True),
        ("course", Choice(test_every=5), 109_867, False),
        ("every-64th", Choice(test_every=64, drifted="exclude"), 8_399, False),
    ],
)
def test_sets_of_human36m_have_the_sizes_of_the_literature(name, choice, count, is_comparable):
    """From the names of every image that `prepare h36m` writes."""
    videos = [video for video in list_videos(choice) if video.split == "valid"]
    names = [image_name(video.name, row) for video in videos for row in video.rows]
    rows = PROTOCOLS[name].rows([parse_frame_name(image) for image in names])
    assert len(rows) == count
    assert (PROTOCOLS[name].doubt(len(rows)) is None) == is_comparable


def test_what_cannot_be_compared_is_said():
    assert PROTOCOLS["all"].doubt(5) is None
    assert PROTOCOLS["course"].doubt(5) == "The protocol has 10,987 images, this set 5: not comparable."
    assert PROTOCOLS["every-64th"].doubt(8_608) == (
        "The protocol has 8,724 or 8,695 images, the latter without the corrupt video of S11, this set 8,608: not "
        "comparable."
    )
    assert PROTOCOLS["3dhp"].doubt(2_929) is None
    assert "in true mm" in PROTOCOLS["3dhp"].meaning


def test_the_docs_define_every_protocol():
    """Name, headline, joints and sizes of each in one row of one table."""
    text = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
    for protocol in PROTOCOLS.values():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{protocol.name}` |"))
        assert f"`{protocol.headline}`" in row
        assert f"| {len(protocol.joint_indices(HUMAN36M))}" in row
        assert all(f"{number:,}" in row for number in protocol.num_images)
        assert all(subject in row for subject in (protocol.subjects or ())[:1])


def test_the_interval_of_a_headline_that_is_not_mpjpe():
    """Two sequences, one right but for a turn: its rigid error is 0, so that of the other is twice the mean."""
    names = ["S11_Walking_1.54138969_000001.jpg", "S11_Photo_2.54138969_000129.jpg"]
    true = np.random.default_rng(0).normal(0, 300, (2, 17, 3))
    predicted = true.copy()
    predicted[0] = true[0] @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    predicted[1, 3, 2] += 34
    scores = score_predictions(
        Predictions(np.arange(2), predicted), true, names, HUMAN36M, protocol=PROTOCOLS["s11-rigid"]
    )
    low, high = scores.headline_interval
    assert low == pytest.approx(0, abs=1e-9)
    assert 2 * scores.metrics["rigid_mpjpe_mm"] == pytest.approx(high)
    assert scores.interval_mm[1] > 100 > high
    predicted[1, 3, 2] += 200
    predicted[0] = true[0]
    pck = replace(PROTOCOLS["s11-rigid"], headline="pck_150")
    scores = score_predictions(Predictions(np.arange(2), predicted), true, names, HUMAN36M, protocol=pck)
    assert scores.headline_interval == pytest.approx([16 / 17, 1])


def test_scores_of_a_protocol_by_hand():
    true = np.random.default_rng(0).normal(0, 300, (5, 17, 3))
    predicted = true.copy()
    predicted[3, 1, 2] += 34  # of the chosen rows one has one joint 34 mm off
    predicted[4] += np.arange(17)[:, None] * 50  # not chosen
    scores = score_predictions(
        Predictions(np.arange(5), predicted), true, NAMES, HUMAN36M, protocol=PROTOCOLS["every-64th"]
    )
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
    scores = score_predictions(Predictions(np.arange(2), predicted), true, names, HUMAN36M, protocol=PROTOCOLS["3dhp"])
    assert scores.metrics["pck_150"] == pytest.approx(13 / 14)
    assert set(scores.per_joint_mm) == set(LSP_JOINTS)


def test_names_that_do_not_say_and_protocols_that_are_not_there():
    with pytest.raises(DataError, match="chooses by subject and frame, which the image names do not hold"):
        PROTOCOLS["every-64th"].rows([None])
    with pytest.raises(DataError, match="finds none of its images"):
        PROTOCOLS["3dhp"].rows(FRAMES)
    with pytest.raises(ConfigError, match="unknown protocol 'p1'. Known: all, course, every-64th"):
        find_protocol("p1")
