"""Cameras of any kind: near or far, low or high, level or not."""

import numpy as np

from integral_pose.geometry.camera import Camera
from integral_pose.synthetic.people.rotations import cross, turn_about, unit

FRAME_PX = 1000


def draw_camera(rng: np.random.Generator) -> Camera:
    """Looks at somebody near the origin of the floor, from 2 to 9 m away, mostly from between knee and overhead."""
    away_mm = float(np.exp(rng.uniform(np.log(2200), np.log(9000))))
    height_mm = float(rng.choice([rng.uniform(900, 1800), rng.uniform(300, 3000)]))
    angle = rng.uniform(0, 2 * np.pi)
    center = np.array([away_mm * np.cos(angle), away_mm * np.sin(angle), height_mm])
    aim = np.array([*rng.normal(0, 0.05 * away_mm, 2), rng.uniform(600, 1100)])
    forward = unit(aim - center)
    right = unit(cross(forward, np.array([0.0, 0, 1])))
    rotation = np.stack([right, cross(forward, right), forward])
    rotation = turn_about(np.array([0.0, 0, 1]), rng.normal(0, 0.06)) @ rotation
    focal_px = rng.uniform(0.8, 1.3) * FRAME_PX * away_mm / 4200  # persons fill about as much of the frame
    focal = np.full(2, float(np.clip(focal_px, 480, 2600)))
    radial = np.array([rng.normal(0, 0.03), 0.0, 0.0])
    return Camera(rotation, center, focal, np.full(2, FRAME_PX / 2), radial, np.zeros(2), FRAME_PX, FRAME_PX)
