"""The 17 joints as Human3.6M places them, from the centres of the rig's joints.

Human3.6M's hips lie at the height of the joints but farther apart, its thorax at the collar, its `Neck/Nose` at the
chin and its `Head` at the forehead. Each joint starts at the head of a bone, which also moves it, and goes so many
times the way from one point of the body at rest to another; the shares make the mean bones those of real recordings
(docs/data.md).
"""

from functools import cache

import numpy as np

from integral_pose.contracts import Array
from integral_pose.skeleton import HUMAN36M
from integral_pose.synthetic.people.body_data import BodyData
from integral_pose.synthetic.people.shapes import RestBody

# joint -> (bone, ((from, to, share), ...)); 'nose tip' and 'crown' are points of the skull
CENTRES: dict[str, tuple[str, tuple[tuple[str, str, float], ...]]] = {
    "Spine": ("spine03", (("spine03", "spine02", 1.02),)),
    "Thorax": ("spine01", (("spine01", "neck01", 0.66),)),
    "Neck/Nose": ("head", (("head", "nose tip", 0.23), ("head", "crown", -0.47))),
    "Head": ("head", (("head", "nose tip", -0.08), ("head", "crown", 0.24))),
}
MOVED_BY = {"Hip": "root", "Shoulder": "shoulder01."}  # what these belong to; the others move with their own bone
LIMB_CENTRES = {  # L and R, with the bones' side behind a dot
    "Hip": ("upperleg01", (("upperleg01 other", "upperleg01", 0.085), ("lowerleg01", "upperleg01", 0.04))),
    "Knee": ("lowerleg01", (("upperleg01", "foot", 0.03),)),
    "Foot": ("foot", (("lowerleg01", "foot", 0.045),)),
    "Shoulder": ("upperarm01", (("upperarm01 other", "upperarm01", -0.09),)),
    "Elbow": ("lowerarm01", (("upperarm01", "wrist", -0.02),)),
    "Wrist": ("wrist", ()),
}


@cache
def centre_bones(data: BodyData) -> list[int]:
    """The bone that moves each of the 17 joints."""
    names = []
    for name in HUMAN36M.names:
        mover = MOVED_BY.get(name.lstrip("LR"))
        names.append(mover + name[0] if mover and mover.endswith(".") else mover or _centre(name)[0])
    return [data.bones.index(name) for name in names]


def rest_joints(data: BodyData, body: RestBody) -> Array:
    """(17, 3) mm, of the body at rest."""
    points = dict(zip(data.bones, body.heads_mm, strict=True)) | skull_points(data, body)
    joints = np.empty((HUMAN36M.num_joints, 3))
    for row, name in enumerate(HUMAN36M.names):
        if name != "Hip":
            bone, ways = _centre(name)
            joints[row] = points[bone] + sum(share * (points[end] - points[start]) for start, end, share in ways)
    joints[0] = joints[[HUMAN36M.names.index("LHip"), HUMAN36M.names.index("RHip")]].mean(axis=0)
    return joints


def skull_points(data: BodyData, body: RestBody) -> dict[str, Array]:
    """The tip of the nose and the highest point of the head."""
    skull = body.vertices_mm[data.face_vertices].astype(np.float64)
    return {"nose tip": skull[skull[:, 0].argmax()], "crown": skull[skull[:, 2].argmax()]}


def _centre(name: str) -> tuple[str, tuple[tuple[str, str, float], ...]]:
    if name in CENTRES:
        return CENTRES[name]
    side, other = (".L", ".R") if name[0] == "L" else (".R", ".L")
    bone, ways = LIMB_CENTRES[name[1:]]

    def sided(point: str) -> str:
        return point.removesuffix(" other") + (other if point.endswith("other") else side)

    return bone + side, tuple((sided(start), sided(end), share) for start, end, share in ways)
