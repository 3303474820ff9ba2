"""A scene -> its picture, straight in the crop: rays of the pixels, background, body, and what a sensor adds."""

from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from integral_pose.contracts import Array
from integral_pose.geometry.camera import Camera
from integral_pose.geometry.crop import Crop
from integral_pose.synthetic.background import paint_background, paint_occluder
from integral_pose.synthetic.body_model import Body
from integral_pose.synthetic.body_surface import Clothes, body_solids, stool_solids
from integral_pose.synthetic.presets import EASY, Difficulty
from integral_pose.synthetic.ray_casting import Array32, cast, shade
from integral_pose.synthetic.scene import SPILL_PX, Scene

LATTICE_PX = 16.0  # undistorted nodes this far apart: between them the lens bends by less than 0.03 px
KNOTS = np.array([-0.95, -0.6, 0.0, 0.6, 0.95])  # of the quartic along a row, -1..1 over the crop
NOISE_SIZE = 512


def render(
    scene: Scene, person: Body, clothes: Clothes, rng: np.random.Generator, difficulty: Difficulty = EASY
) -> NDArray[np.uint8]:
    """(256, 256, 3) RGB of a person in a room."""
    rays = crop_rays(scene.camera, scene.crop)
    picture = _background(scene, rays, rng, difficulty.clutter)
    solids = body_solids(scene.body, person, clothes)
    if scene.seat == "stool":
        colour = tuple(rng.uniform(30, 200, 3).tolist())
        solids += stool_solids(scene.body.joints_mm[0], scene.hip_floor_mm, colour)
    hits = cast(solids, rays, scene.camera, scene.crop)
    pixels, colours = shade(solids, hits, rays, _light(scene, rng), float(rng.uniform(0.4, 0.6)))
    colours *= np.float32(rng.uniform(0.85, 1.2))
    for plane, values in zip(picture.reshape(3, -1), colours, strict=True):
        plane[pixels] = values
    if difficulty.max_occluders:
        _occlude_joints(picture, scene, int(rng.integers(difficulty.max_occluders + 1)), rng)
    return _add_blur_and_noise(picture, rng)


def _occlude_joints(picture: Array32, scene: Scene, count: int, rng: np.random.Generator) -> None:
    """Something in front of so many joints, not quite in their middle."""
    joints_px = scene.crop.image_px_to_crop_px(scene.joints_image_px)
    for joint in rng.integers(len(joints_px), size=count):
        paint_occluder(picture, joints_px[joint] + rng.normal(0, 10, 2), rng)


def crop_rays(camera: Camera, crop: Crop) -> Array32:
    """(2, H, W) x and y on the plane z = 1 of the centres of the crop's pixels.

    Along a row they follow a quartic through five points, right to 0.02 px.
    """
    centers = np.arange(crop.size_px) + 0.5
    node_y, share_y = _lattice_place(crop.top_px + crop.scale * centers)
    node_x, share_x = _lattice_place(crop.left_px + crop.scale * crop.size_px * (KNOTS + 1) / 2)
    lattice = _undistorted_lattice(camera)
    rows = lattice[:, node_y] * (1 - share_y)[:, None] + lattice[:, node_y + 1] * share_y[:, None]
    knots = rows[:, :, node_x] * (1 - share_x) + rows[:, :, node_x + 1] * share_x  # (2, H, 5)
    quartic = (knots @ np.linalg.inv(np.vander(KNOTS)).T).astype(np.float32)
    u = (centers * (2 / crop.size_px) - 1).astype(np.float32)
    rays = quartic[:, :, :1] * u
    for power in (1, 2, 3):
        rays += quartic[:, :, power : power + 1]
        rays *= u
    rays += quartic[:, :, 4:]
    return rays


def _lattice_place(at_px: NDArray[Any]) -> tuple[NDArray[np.intp], Array]:
    """Node before each place along one axis of the frame, and how far it is to the next, 0..1."""
    at = (at_px + SPILL_PX) / LATTICE_PX
    node = at.astype(np.intp)
    return node, at - node


@lru_cache(maxsize=64)
def _undistorted_lattice(camera: Camera) -> Array:
    """(2, n, n) points on the plane z = 1 of nodes every LATTICE_PX px, from SPILL_PX outside the frame."""
    reach_px = max(camera.width_px, camera.height_px) + 2 * SPILL_PX
    nodes_px = np.arange(reach_px // LATTICE_PX + 3) * LATTICE_PX - SPILL_PX
    grid_px = np.stack(np.meshgrid(nodes_px, nodes_px), axis=-1)
    with np.errstate(over="ignore", invalid="ignore"):  # far outside the frame, where strong lenses have no inverse
        points = camera.image_px_to_camera(grid_px, 1.0)
    return np.moveaxis(points[..., :2], -1, 0).copy()


def _background(scene: Scene, rays: Array32, rng: np.random.Generator, clutter: int) -> Array32:
    down = -scene.camera.rotation[:, 2]
    wall_mm = scene.hip_floor_mm[2] + rng.uniform(600, 4000)
    return paint_background(rays, down, float(down @ scene.hip_floor_mm), wall_mm, rng, clutter)


def _light(scene: Scene, rng: np.random.Generator) -> Array:
    """A unit vector from above, on the camera's side of the person."""
    up, towards_camera = scene.camera.rotation[:, 2], np.array([0.0, 0.0, -1.0])
    light = up * rng.uniform(0.2, 1.0) + towards_camera * rng.uniform(0.3, 1.0) + (rng.uniform(-0.9, 0.9), 0, 0)
    return light / np.sqrt(light @ light)


def _add_blur_and_noise(picture: Array32, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(3, H, W) RGB -> (H, W, 3): slight blur, sensor noise, 8 bits."""
    size = picture.shape[1]
    blur, gain = np.float32(rng.uniform(0.1, 0.25)), np.float32(rng.uniform(1, 7))
    row, column = (int(v) for v in rng.integers(NOISE_SIZE - size, size=2))
    noise = _noise()[:, row : row + size, column : column + size]
    out = np.empty((size, size, 3), dtype=np.uint8)
    for channel in range(3):
        plane = _blur(picture[channel], blur) if blur > 0.19 else picture[channel]
        grainy = noise[channel] * gain
        grainy += plane
        out[:, :, channel] = grainy.astype(np.int16).clip(0, 255)  # integers clip ten times as fast
    return out


def _blur(plane: Array32, share: np.float32) -> Array32:
    """Each pixel gives `share` to either neighbour, along rows and columns; the border keeps its colour."""
    tall = plane.copy()
    tall[1:-1] *= 1 - 2 * share
    tall[1:-1] += share * (plane[2:] + plane[:-2])
    soft = tall.copy()
    soft[:, 1:-1] *= 1 - 2 * share
    soft[:, 1:-1] += share * (tall[:, 2:] + tall[:, :-2])
    return soft


@cache
def _noise() -> Array32:
    """Standard normal noise, the same for all; every picture shows another window of it."""
    return np.random.default_rng(0).standard_normal((3, NOISE_SIZE, NOISE_SIZE), dtype=np.float32)
