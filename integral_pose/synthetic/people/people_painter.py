"""Pictures of people: body, clothes, pose, room, camera and light, all from the index of the picture and the seed."""

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from integral_pose.contracts import Array
from integral_pose.datasets.writer import label_row
from integral_pose.errors import ConfigError, DataError
from integral_pose.geometry.camera import Camera, human36m_camera
from integral_pose.geometry.crop import Crop
from integral_pose.io.notices import notify
from integral_pose.synthetic.actions import draw_pose
from integral_pose.synthetic.body_model import Body, pose_body
from integral_pose.synthetic.painter import STREAMS, Painted
from integral_pose.synthetic.people.backgrounds import Photographs, draw_backdrop, find_photographs
from integral_pose.synthetic.people.body_data import INSTALL, BodyData, cache_file, load_body_data, make_cache
from integral_pose.synthetic.people.cameras import draw_camera
from integral_pose.synthetic.people.garments import HAIR, Mesh, dress, head_place
from integral_pose.synthetic.people.joint_centres import rest_joints
from integral_pose.synthetic.people.materials import Look
from integral_pose.synthetic.people.outfits import draw_outfit, without_sleeves
from integral_pose.synthetic.people.photograph import take_picture
from integral_pose.synthetic.people.pose_file import (
    PoseFile,
    check_pose_file,
    is_within_reach,
    read_poses,
    try_poses,
)
from integral_pose.synthetic.people.rig import AT, Hands, PosedRig, fit_error_mm, fit_rig, skin
from integral_pose.synthetic.people.room import RoomMesh, draw_room, horizontal
from integral_pose.synthetic.people.shapes import RestBody, draw_traits, rest_body
from integral_pose.synthetic.people.stage import FIRST_THING, Stage, build_stage, draw_lights, meet
from integral_pose.synthetic.presets import Difficulty
from integral_pose.synthetic.render import crop_rays
from integral_pose.synthetic.scene import CROP_SIZE_PX, Scene, place_in_view, room_center_mm
from integral_pose.synthetic.shots import Shot

UP = np.array([0.0, 0.0, 1.0])
CAMERAS = ("human36m", "wide")
TRUNK = ("root", "spine", "head")
PICTURES_A_PERSON = 4  # in a row; a body and its clothes take longer than a pose
WIDE_CAMERA_SHARE = 0.8  # of --cameras wide; the others are Human3.6M's
PHOTOGRAPH_SHARE = 0.8  # with --backgrounds
TRUNCATED_SHARE = 0.12
DRAWS_A_CAMERA = 30
DRAWS_OF_A_POSE = 1000
PERSON_STREAM, PICTURE_STREAM = 3, 4  # behind the split's


class Person(NamedTuple):
    """Somebody dressed, at rest."""

    body: RestBody
    lengths: Body
    mesh: Mesh
    look: Look
    anywhere: NDArray[np.intp]  # some vertices of all parts
    trunk: NDArray[np.intp]  # some of trunk and head, on which somebody lies


@dataclass(frozen=True)
class PeoplePainter:
    """Made by `set_up`, and sent to the workers."""

    seed: int
    difficulty: Difficulty
    cameras: str = "human36m"
    photographs: Photographs | None = None
    poses: PoseFile | None = None

    def paint(self, split: str, index: int, shot: Shot) -> Painted:
        """See `Painter`."""
        person = draw_person(STREAMS[split], index // PICTURES_A_PERSON, self.seed, self.difficulty.sleeveless_share)
        rng = np.random.default_rng([STREAMS[split], PICTURE_STREAM, index, self.seed])
        scene = self._draw_scene(person, shot, rng)
        if self.difficulty.max_occluders and rng.random() < TRUNCATED_SHARE:
            scene = scene._replace(crop=_cut_off(scene.crop, rng))
        image = self._photograph(person, scene, rng)
        return Painted(image, label_row(scene.joints_image_px, scene.body.joints_mm, scene.camera, scene.crop))

    def settings(self) -> dict[str, Any]:
        """See `Painter`."""
        return {
            "people": "anny", "seed": self.seed, **self.difficulty._asdict(), "cameras": self.cameras,
            "backgrounds": _state_of(self.photographs.folder, self.photographs.names) if self.photographs else "none",
            "poses": _state_of(self.poses.path.parent, [self.poses.path.name]) if self.poses else "none",
        }  # fmt: skip

    def _draw_scene(self, person: Person, shot: Shot, rng: np.random.Generator) -> Scene[PosedRig]:
        data = load_body_data()

        def draw() -> tuple[PosedRig, str]:
            if self.poses is not None:
                posed, seat, rests = _lent_pose(read_poses(self.poses), person, rng), "none", person.anywhere
            else:
                hard = self.difficulty
                pose = draw_pose(shot.action, rng, hard.looseness, hard.wide_share, hard.reclining_share)
                wanted, seat = pose_body(person.lengths, pose).joints_mm, pose.seat
                rests = person.anywhere if pose.lying is None else person.trunk
                posed = fit_rig(data, person.body, wanted, _draw_hands(rng), UP)
            low_mm = skin(person.mesh.rest_mm[rests], person.mesh.weights[rests], person.body, posed)[:, 2].min()
            return posed.moved(np.eye(3), np.array([0, 0, -float(low_mm)])), seat

        for _ in range(50):
            camera, center_mm = self._draw_camera(shot, rng)
            scene = place_in_view(camera, center_mm, draw, rng, DRAWS_A_CAMERA)
            if scene is not None:
                return scene
        raise DataError(f"no pose of {shot.action} fits a camera; report this, with the seed {self.seed}")

    def _draw_camera(self, shot: Shot, rng: np.random.Generator) -> tuple[Camera, Array]:
        if self.cameras == "wide" and rng.random() < WIDE_CAMERA_SHARE:
            return draw_camera(rng), np.zeros(2)
        return human36m_camera(shot.subject, shot.camera_id), room_center_mm(shot.subject)

    def _photograph(self, person: Person, scene: Scene[PosedRig], rng: np.random.Generator) -> NDArray[np.uint8]:
        hard = self.difficulty
        up = scene.camera.rotation[:, 2]
        backdrop = None
        if self.photographs and rng.random() < PHOTOGRAPH_SHARE:
            backdrop = draw_backdrop(self.photographs, CROP_SIZE_PX, rng)
        away = -scene.camera.rotation.T @ scene.hip_floor_mm
        hip_mm = float((scene.body.joints_mm[0] - scene.hip_floor_mm) @ up)
        occluders = int(rng.integers(hard.max_occluders + 1)) // 2
        room_state = rng.bit_generator.state
        for count in range(occluders, -1, -1):  # fewer until the person can be seen
            rng.bit_generator.state = room_state
            room = draw_room(rng, horizontal(away), float(np.linalg.norm(away[:2])), scene.seat, hip_mm, hard.clutter,
                             backdrop is None, count)  # fmt: skip
            stage = _stage(person, scene, room)
            if count == 0 or _num_hidden(stage, scene.body.joints_mm) <= 8:
                break
        return take_picture(stage, crop_rays(scene.camera, scene.crop), draw_lights(rng, up), backdrop, rng)


def set_up(
    seed: int, difficulty: Difficulty, cameras: str = "human36m", backgrounds: Path | None = None,
    poses: Path | None = None,
) -> PeoplePainter:  # fmt: skip
    """A painter, after all that can be found wrong was looked for and the body is in the user's cache."""
    if importlib.util.find_spec("embreex") is None:
        raise ConfigError(INSTALL)
    if not cache_file().exists():
        make_cache(cache_file())
    if cameras not in CAMERAS:
        raise ConfigError(f"--cameras is '{cameras}'; it has to be one of: {', '.join(CAMERAS)}")
    photographs = find_photographs(backgrounds) if backgrounds else None
    pose_file = check_pose_file(poses) if poses else None
    if pose_file:
        fitted = try_poses(pose_file)
        notify(f"{poses}: of {fitted.num_tried:,} poses tried the rig comes to {fitted.mean_error_mm:.0f} mm from them "
               f"on average; {fitted.num_out_of_reach:,} are out of its reach, and such are passed over")  # fmt: skip
    return PeoplePainter(seed, difficulty, cameras, photographs, pose_file)


def _state_of(folder: Path, names: Sequence[str]) -> str:
    """By which other files are told from these: names and sizes."""
    listed = b"".join(b"%s %d\n" % (os.fsencode(name), (folder / name).stat().st_size) for name in names)
    return f"{len(names):,} files, {hashlib.sha256(listed).hexdigest()[:12]}"


@lru_cache(maxsize=2)
def draw_person(stream: int, number: int, seed: int, sleeveless_share: float) -> Person:
    """Person `number` of a set of that seed; `stream` tells training from test."""
    rng = np.random.default_rng([stream, PERSON_STREAM, number, seed])
    data = load_body_data()
    traits = draw_traits(rng)
    body = rest_body(data, traits)
    outfit = draw_outfit(rng, traits.gender, traits.age)
    if sleeveless_share and rng.random() < sleeveless_share:  # drawn last: older sets keep their bytes
        outfit = without_sleeves(outfit, rng)
    spine = [data.bones.index(name) for name in ("spine01", "spine02")]
    look = Look(outfit, head_place(data, body), float(body.heads_mm[spine, 2].mean()))
    mesh = dress(data, body, outfit)
    carried = mesh.weights[:, [i for i, name in enumerate(data.bones) if name.startswith(TRUNK)]].sum(axis=1)
    trunk = np.flatnonzero((carried > 0.9) & (mesh.kind_of_vertices() != HAIR))
    return Person(body, _lengths(data, body), mesh, look, np.arange(0, len(carried), 7), trunk[::5])


def _lent_pose(poses: Array, person: Person, rng: np.random.Generator) -> PosedRig:
    """One of poses (N, 17, 3) that this body can take."""
    data = load_body_data()
    for _ in range(DRAWS_OF_A_POSE):
        wanted = poses[int(rng.integers(len(poses)))]
        posed = fit_rig(data, person.body, wanted, _draw_hands(rng), UP)
        if is_within_reach(fit_error_mm(data, person.body, posed, wanted)):
            return posed
    raise DataError(f"the rig can take none of {DRAWS_OF_A_POSE} poses drawn from those of --poses; give another file")


def _lengths(data: BodyData, body: RestBody) -> Body:
    """The bones of a body as those of a mannequin, which is posed first."""
    joints = rest_joints(data, body)

    def length(first: str, second: str) -> float:
        return float(np.linalg.norm(joints[AT[first]] - joints[AT[second]]))

    return Body(
        length("Hip", "LHip"), length("LHip", "LKnee"), length("LKnee", "LFoot"), length("Hip", "Spine"),
        length("Spine", "Thorax"), length("Thorax", "Neck/Nose"), length("Neck/Nose", "Head"),
        length("Thorax", "LShoulder"), length("LShoulder", "LElbow"), length("LElbow", "LWrist"), 1.0, (0, 0, 0),
    )  # fmt: skip


def _draw_hands(rng: np.random.Generator) -> Hands:
    pronation, flexion, curl = (values.tolist() for values in (
        rng.normal(0, 0.4, 2), rng.normal(0, 0.2, 2), rng.uniform(0.05, 0.8, 2)))  # fmt: skip
    return Hands((pronation[0], pronation[1]), (flexion[0], flexion[1]), (curl[0], curl[1]))


def _stage(person: Person, scene: Scene[PosedRig], room: RoomMesh) -> Stage:
    """The person and the room round the point of the floor below its hip, in camera axes."""
    points = skin(person.mesh.rest_mm, person.mesh.weights, person.body, scene.body)
    return build_stage(person.mesh, points, room, scene.camera.rotation, scene.hip_floor_mm, person.look)


def _num_hidden(stage: Stage, joints_mm: Array) -> int:
    """How many of the joints lie behind things of the room."""
    rays = (joints_mm / joints_mm[:, 2:]).astype(np.float32)
    surface = meet(stage, rays)
    before = surface.depth_mm < joints_mm[surface.hit, 2] - 50
    return int(((surface.kind >= FIRST_THING) & before).sum())


def _cut_off(crop: Crop, rng: np.random.Generator) -> Crop:
    """A smaller square somewhere in the crop."""
    side_px = crop.side_px * rng.uniform(0.6, 0.9)
    room_px = crop.side_px - side_px
    left, top = (crop.left_px + room_px * rng.random(), crop.top_px + room_px * rng.random())
    return Crop(float(left), float(top), float(side_px / crop.size_px), crop.size_px)
