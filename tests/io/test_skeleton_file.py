import pytest
import yaml

from integral_pose.errors import DataError
from integral_pose.io.skeleton_file import read_skeleton, write_skeleton
from integral_pose.skeleton import HUMAN36M, Skeleton

CHAIN = {
    "joints": ["Neck", "Hip", "RHand", "LHand"],
    "parents": {"Neck": "Hip", "RHand": "Neck", "LHand": "Neck"},
    "mirror_pairs": [["LHand", "RHand"]],
    "root": "Hip",
}


@pytest.fixture
def read(tmp_path):
    """A function that reads CHAIN with some values changed, or text as it is."""

    def read(text=None, **changes):
        text = text if text is not None else yaml.safe_dump({**CHAIN, **changes}, sort_keys=False)
        (tmp_path / "skeleton.yaml").write_text(text)
        return read_skeleton(tmp_path)

    return read


def test_a_set_without_the_file_has_the_joints_of_human36m(tmp_path):
    assert read_skeleton(tmp_path) is HUMAN36M
    write_skeleton(tmp_path, HUMAN36M)
    assert not list(tmp_path.iterdir())


def test_what_the_file_says(read):
    found = read()
    assert (found.names, found.root) == (("Neck", "Hip", "RHand", "LHand"), 1)
    assert set(found.bones) == {(0, 1), (2, 0), (3, 0)}
    assert found.flip_order == (0, 1, 3, 2)
    assert [found.side(joint) for joint in range(4)] == ["middle", "middle", "right", "left"]


@pytest.mark.parametrize("names", [("a", "b", "c"), ("Neck/Nose", "1", "Kopf é: #")])
def test_what_is_written_is_read(names, tmp_path):
    middle, left, right = names
    skeleton = Skeleton(names, {left: middle, right: middle}, ((left, right),))
    write_skeleton(tmp_path, skeleton)
    assert read_skeleton(tmp_path) == skeleton


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parents": {"Neck": "RHand", "RHand": "LHand", "LHand": "Neck"}}, "the parents go in a circle: "),
        ({"parents": {"RHand": "Neck", "LHand": "Neck"}}, r"2 joints have no parent \(Neck, Hip\), expected the root"),
        ({"parents": {**CHAIN["parents"], "Foot": "Hip"}}, "a parent is given for Foot, which is no joint of it"),
        ({"parents": {**CHAIN["parents"], "Neck": "Throat"}}, "the parent of Neck is Throat, which is no joint of it"),
        ({"parents": ["Hip"]}, r"parents is \['Hip'\], expected a line 'joint: its parent'"),
        ({"parents": {**CHAIN["parents"], "Neck": 3}}, "parents is .*, expected a line"),
        ({"joints": ["Neck", "Hip", "RHand", "LHand", "Neck"]}, "joint Neck is named twice"),
        ({"joints": "Neck"}, "joints is 'Neck', expected a list of names"),
        ({"joints": [1, 2]}, r"joints is \[1, 2\], expected a list of names"),
        ({"joints": ["Hip"], "parents": {}}, "it has 1 joints, expected 2 to 256"),
        ({"joints": ["Hip", "a,b"]}, "'a,b' is no name of a joint"),
        ({"joints": ["Hip", "a\tb"]}, ".*is no name of a joint"),
        ({"mirror_pairs": [["LHand", "LHand"]]}, "the pair LHand, LHand is one joint"),
        ({"mirror_pairs": [["LHand", "LFoot"]]}, "LFoot is in a pair and no joint of it"),
        ({"mirror_pairs": [["LHand", "RHand"], ["Neck", "RHand"]]}, "RHand is in two pairs"),
        ({"mirror_pairs": [["LHand", "RHand", "Neck"]]}, ".*expected a list of pairs"),
        ({"mirror_pairs": {"LHand": "RHand"}}, ".*expected a list of pairs"),
        ({"root": "Neck"}, "root is 'Neck', but the joint without a parent is Hip"),
        ({"roots": "Hip"}, "'roots' is unknown or missing; expected joints, parents, mirror_pairs, root"),
    ],
)
def test_faults_are_named_with_their_file(changes, message, read):
    with pytest.raises(DataError, match=f"skeleton.yaml: {message}"):
        read(**changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- Hip", "skeleton.yaml: expected a mapping"),
        ("", "skeleton.yaml: expected a mapping"),
        ("joints: [a, b]\nparents: {b: a, b: a}", "skeleton.yaml:2: 'parents.b' is given twice"),
        ("joints: [a", "skeleton.yaml:1: not valid YAML"),
        ("joints: [a, b]", "skeleton.yaml: 'parents' is unknown or missing"),
    ],
)
def test_what_is_no_skeleton_at_all(text, message, read):
    with pytest.raises(DataError, match=message):
        read(text)
