"""Pose, place and camera of one picture: where the joints are in space, in the picture and in its crop."""

from collections.abc import Callable
from functools import cache
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

import numpy as np

from integral_pose.contracts import Array
from integral_pose.errors import DataError
from integral_pose.geometry.camera import CAMERA_IDS, Camera, human36m_camera
from integral_pose.geometry.crop import Crop, crop_c2f
from integral_pose.synthetic.actions import draw_pose
from integral_pose.synthetic.body_model import BODIES, PosedBody, pose_body, rotation_matrix

CROP_SIZE_PX = 256
ROOM_RADIUS_MM = 1500.0
FRAME_MARGIN_PX = 8.0  # joints keep this far from the border of the frame
SPILL_PX = 100.0  # how far a crop may reach over that border
FLOOR_GAP_MM = 15.0  # no joint lies lower
NEAREST_MM = 300.0  # to the camera's plane
MAX_DRAWS = 1000


class Posed(Protocol):
    """A body whose joints can be anywhere."""

    @property
    def joints_mm(self) -> Array:
        """(17, 3)."""

    def moved(self, rotation: Array, shift_mm: Array) -> Self:
        """The same body in other axes: x -> rotation x + shift."""


Body = TypeVar("Body", bound=Posed)


class Scene(NamedTuple, Generic[Body]):
    """What a picture shows; camera axes, mm."""

    camera: Camera
    crop: Crop
    body: Body
    seat: str
    joints_image_px: Array  # (17, 2)
    hip_floor_mm: Array  # (3,) the point of the floor below the hip


def draw_scene(
    subject: str, action: str, camera_id: str, rng: np.random.Generator, looseness: float = 1.0,
    wide_share: float = 0.0, reclining_share: float = 0.0,
) -> Scene[PosedBody]:  # fmt: skip
    """A pose of `action` somewhere in the room, whole in the frame of the camera, facing anywhere."""
    camera, center_mm = human36m_camera(subject, camera_id), room_center_mm(subject)

    def draw() -> tuple[PosedBody, str]:
        pose = draw_pose(action, rng, looseness, wide_share, reclining_share)
        return pose_body(BODIES[subject], pose), pose.seat

    scene = place_in_view(camera, center_mm, draw, rng)
    if scene is None:
        raise DataError(f"no pose of {subject} {action} fits camera {camera_id} in {MAX_DRAWS} draws; report this")
    return scene


def place_in_view(
    camera: Camera, center_mm: Array, draw: Callable[[], tuple[Body, str]], rng: np.random.Generator,
    draws: int = MAX_DRAWS,
) -> Scene[Body] | None:  # fmt: skip
    """A body and its seat, drawn until it is whole in the frame near `center_mm` (2,) on the floor; None: never."""
    for _ in range(draws):
        posed, seat = draw()
        turn, place_mm = _draw_place(center_mm, rng)
        if posed.joints_mm[:, 2].min() < FLOOR_GAP_MM:
            continue
        world = posed.moved(rotation_matrix(turn, 0, 0), place_mm)
        seen = world.moved(camera.rotation, -camera.rotation @ camera.center_world_mm)
        if seen.joints_mm[:, 2].min() < NEAREST_MM:
            continue
        joints_image_px = camera.camera_to_image_px(seen.joints_mm)
        crop = crop_c2f(joints_image_px, CROP_SIZE_PX)
        if _fits(joints_image_px, crop, camera):
            hip_floor_mm = camera.world_to_camera(world.joints_mm[0] * (1, 1, 0))
            return Scene(camera, crop, seen, seat, joints_image_px, hip_floor_mm)
    return None


@cache
def room_center_mm(subject: str) -> Array:
    """(2,) The point of the floor nearest to the four optical axes, world axes."""
    cameras = [human36m_camera(subject, camera_id) for camera_id in CAMERA_IDS]
    across = [np.eye(3) - camera.rotation[2][:, None] * camera.rotation[2] for camera in cameras]
    points = [part @ camera.center_world_mm for part, camera in zip(across, cameras, strict=True)]
    center: Array = np.linalg.solve(np.sum(across, axis=0), np.sum(points, axis=0))
    return center[:2]


def _draw_place(center_mm: Array, rng: np.random.Generator) -> tuple[float, Array]:
    """Heading in radians and the place on the floor (3,), uniform over the middle of the room."""
    turn, angle, share = rng.random(3) * (2 * np.pi, 2 * np.pi, 1)
    radius_mm = ROOM_RADIUS_MM * np.sqrt(share)
    x, y = center_mm + radius_mm * np.array([np.cos(angle), np.sin(angle)])
    return float(turn), np.array([x, y, 0.0])


def _fits(joints_image_px: Array, crop: Crop, camera: Camera) -> bool:
    frame_px = np.array([camera.width_px, camera.height_px])
    inside = (joints_image_px > FRAME_MARGIN_PX).all() and (joints_image_px < frame_px - FRAME_MARGIN_PX).all()
    corner_px = np.array([crop.left_px, crop.top_px])
    return bool(inside and (corner_px > -SPILL_PX).all() and (corner_px + crop.side_px < frame_px + SPILL_PX).all())
