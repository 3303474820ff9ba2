import ast
from pathlib import Path

import pytest

from integral_pose import skeleton
from integral_pose.errors import DataError
from integral_pose.skeleton import HUMAN36M, Skeleton, joint_order


def test_the_seventeen_joints_stand_in_the_order_of_the_course_layout():
    assert " ".join(HUMAN36M.names) == (
        "Hip RHip RKnee RFoot LHip LKnee LFoot Spine Thorax Neck/Nose Head "
        "LShoulder LElbow LWrist RShoulder RElbow RWrist"
    )
    assert (HUMAN36M.num_joints, HUMAN36M.root) == (17, 0)


def test_flip_order_swaps_left_and_right_and_undoes_itself():
    assert HUMAN36M.flip_order == (0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13)
    assert tuple(HUMAN36M.flip_order[i] for i in HUMAN36M.flip_order) == tuple(range(17))


def test_bones_make_one_tree_from_the_root():
    parents = dict(HUMAN36M.bones)
    assert len(parents) == 16
    for joint in range(17):
        steps = 0
        while joint != HUMAN36M.root:
            joint, steps = parents[joint], steps + 1
            assert steps < 17


def test_bones_keep_to_their_side():
    for child, parent in HUMAN36M.bones:
        assert HUMAN36M.side(parent) in (HUMAN36M.side(child), "middle")
    sides = [HUMAN36M.side(joint) for joint in range(17)]
    assert {side: sides.count(side) for side in sides} == {"middle": 5, "right": 6, "left": 6}
    assert sides[:5] == ["middle", "right", "right", "right", "left"]


def test_root_is_the_joint_without_a_parent_wherever_it_stands():
    assert Skeleton(("a", "b", "c"), {"a": "b", "c": "b"}, ()).root == 1


def test_joint_order_goes_by_name():
    source = ["c", "a", "b"]
    assert [source[i] for i in joint_order(source, ["a", "b"])] == ["a", "b"]
    with pytest.raises(DataError, match=r"no joint x, y; it has: c, a, b"):
        joint_order(source, ["x", "a", "y"])


def defaults_of(tree: ast.AST) -> list[ast.expr]:
    """Default values of arguments and of fields."""
    found: list[ast.expr | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            found += [*node.args.defaults, *node.args.kw_defaults]
        elif isinstance(node, ast.ClassDef):
            found += [field.value for field in node.body if isinstance(field, ast.AnnAssign)]
    return [value for value in found if value is not None]


def test_nobody_gets_a_skeleton_without_naming_it():
    """A caller that forgets it would take the joints of his set for Human3.6M's, in silence."""
    package = Path(skeleton.__file__).parent
    guilty = [
        f"{path.relative_to(package)}:{value.lineno}"
        for path in sorted(package.rglob("*.py"))
        for value in defaults_of(ast.parse(path.read_text("utf-8")))
        if any(isinstance(node, ast.Name) and node.id == "HUMAN36M" for node in ast.walk(value))
    ]
    assert guilty == []
