import shutil
from pathlib import Path

import numpy as np
import pytest

import integral_pose
from integral_pose.data.label_matrix import TABLE_FILE, label_matrix
from integral_pose.errors import DataError
from integral_pose.io.skeleton_file import parse_skeleton, read_mapping
from integral_pose.skeleton import HUMAN36M, Skeleton
from tests.people_21 import PEOPLE_21

TABLES = Path(integral_pose.__file__).parent / "datasets/tables"
TRIO = Skeleton(("thorax", "pelvis", "ear"), {"thorax": "pelvis", "ear": "thorax"}, ())


def shipped(name, tmp_path):
    """Skeleton and matrix of a shipped table, for a network of Human3.6M's joints."""
    shutil.copy(TABLES / f"{name}_{TABLE_FILE}", tmp_path / TABLE_FILE)
    path = TABLES / f"{name}_skeleton.yaml"
    skeleton = parse_skeleton(read_mapping(path), str(path))
    return skeleton, label_matrix(tmp_path, skeleton, HUMAN36M)


def row(matrix, skeleton, name):
    weights = matrix[skeleton.names.index(name)]
    return {HUMAN36M.names[joint]: float(weights[joint]) for joint in np.flatnonzero(weights)}


def test_mpii(tmp_path):
    """By the table of the 18 joints in published code: theirs by our index, but for thorax and neck."""
    skeleton, matrix = shipped("mpii", tmp_path)
    ours_of_mpii = {6: 0, 2: 1, 1: 2, 0: 3, 3: 4, 4: 5, 5: 6, 9: 10, 13: 11, 14: 12, 15: 13, 12: 14, 11: 15, 10: 16}
    for theirs, ours in ours_of_mpii.items():
        assert row(matrix, skeleton, skeleton.names[theirs]) == {HUMAN36M.names[ours]: 1}
    assert (skeleton.names[7], skeleton.names[8]) == ("thorax", "upper_neck")
    assert row(matrix, skeleton, "thorax") == {"LShoulder": 0.5, "RShoulder": 0.5}
    assert row(matrix, skeleton, "upper_neck") == {}
    pairs = {tuple(sorted((i, j))) for i, j in enumerate(skeleton.flip_order) if i != j}
    assert pairs == {(0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)}


def test_coco(tmp_path):
    skeleton, matrix = shipped("coco", tmp_path)
    ours_of_coco = {0: 9, 5: 11, 7: 12, 9: 13, 6: 14, 8: 15, 10: 16, 12: 1, 14: 2, 16: 3, 11: 4, 13: 5, 15: 6}
    for theirs, ours in ours_of_coco.items():
        assert row(matrix, skeleton, skeleton.names[theirs]) == {HUMAN36M.names[ours]: 1}
    assert not matrix[1:5].any()  # eyes and ears
    assert not matrix[:, HUMAN36M.root].any()
    assert skeleton.flip_order == (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)


@pytest.mark.parametrize("name", ["mpii", "coco"])
def test_left_stays_left(name, tmp_path):
    """The matrix of mirrored joints is the mirrored matrix."""
    skeleton, matrix = shipped(name, tmp_path)
    np.testing.assert_array_equal(matrix[list(skeleton.flip_order)][:, list(HUMAN36M.flip_order)], matrix)
    assert set(matrix.sum(1).tolist()) == {0.0, 1.0}


def test_a_matrix_says_places(tmp_path):
    (tmp_path / TABLE_FILE).write_text("thorax: {LShoulder: 0.5, RShoulder: 0.5}\npelvis: {Hip: 1.0}")
    joints_px = np.zeros((17, 2), np.float32)
    joints_px[HUMAN36M.names.index("LShoulder")], joints_px[HUMAN36M.names.index("RShoulder")] = (30, 8), (10, 4)
    joints_px[0] = 7, 9
    np.testing.assert_array_equal(label_matrix(tmp_path, TRIO, HUMAN36M) @ joints_px, [[20, 6], [7, 9], [0, 0]])


def test_without_the_file_the_joints_are_the_networks(tmp_path):
    assert (label_matrix(tmp_path, HUMAN36M, HUMAN36M) == np.eye(17)).all()
    backwards = HUMAN36M.of_joints(HUMAN36M.names[::-1])
    assert (label_matrix(tmp_path, backwards, HUMAN36M) == np.eye(17)[::-1]).all()
    with pytest.raises(DataError, match="no joints_from_network.yaml .* The set: thorax, pelvis, ear. The network: "):
        label_matrix(tmp_path, TRIO, HUMAN36M)
    with pytest.raises(DataError, match="has other joints than the network"):
        label_matrix(tmp_path, HUMAN36M, PEOPLE_21)


def test_joints_that_the_network_has_not_are_not_learnt(tmp_path):
    (tmp_path / TABLE_FILE).write_text("thorax: {LShoulder: 0.5, Collar: 0.5}\npelvis: {Hip: 1}")
    assert label_matrix(tmp_path, TRIO, HUMAN36M).sum(1).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Thorax: {LShoulder: 1}", "Thorax is no joint of this set, which has: thorax, pelvis, ear"),
        ("thorax: {LShoulder: 0.5, RShoulder: 0.6}", "the weights of thorax sum to 1.1, expected 1"),
        ("thorax: {LShoulder: .nan}", "thorax is .*, expected joints of the network"),
        ("thorax: {}", "the weights of thorax sum to 0, expected 1"),
        ("thorax: LShoulder", "thorax is 'LShoulder', expected joints of the network with weights"),
        ("thorax: {LShoulder: yes}", "thorax is .*, expected joints of the network"),
        ("thorax: {LShoulder: true}", "thorax is .*, expected joints of the network"),
        ("thorax: {Collar: 1}", "says no joint of this set by joints of the network alone, which has: Hip"),
        ("- thorax", "expected a mapping"),
        ("pelvis: {Hip: 1}\npelvis: {Hip: 1}", "'pelvis' is given twice"),
    ],
)
def test_faults_of_the_table(text, message, tmp_path):
    (tmp_path / TABLE_FILE).write_text(text)
    with pytest.raises(DataError, match=f"joints_from_network.yaml.*: {message}"):
        label_matrix(tmp_path, TRIO, HUMAN36M)
