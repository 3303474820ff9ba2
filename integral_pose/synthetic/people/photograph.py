"""A stage -> the picture a camera takes of it: even edges, depth of field, motion, exposure, noise, compression."""

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from integral_pose.synthetic.people.image_filters import box_blur, convolve, gaussian_blur, resize
from integral_pose.synthetic.people.materials import GAMMA
from integral_pose.synthetic.people.stage import FIRST_THING, Lights, Stage, lights_seen, meet, openness_of, shade
from integral_pose.synthetic.ray_casting import Array32

SUBPIXELS = ((-0.3, -0.2), (0.3, 0.25))  # further rays of a pixel on an edge, px from its middle
EDGE_MM = 60.0  # a step in depth that is an edge


def take_picture(
    stage: Stage, rays: Array32, lights: Lights, backdrop: Array32 | None, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """(H, W, 3) RGB; rays (2, H, W) on the plane z = 1; `backdrop` (H, W, 3) linear light where nothing is met."""
    height, width = rays.shape[1:]
    flat = np.concatenate([rays.reshape(2, -1), np.ones((1, height * width), np.float32)]).T.copy()
    surface = meet(stage, flat)
    kind, depth = np.full(len(flat), -1, np.int32), np.full(len(flat), 1e5, np.float32)
    kind[surface.hit], depth[surface.hit] = surface.kind, surface.depth_mm
    layers = [((kind >= 0) & (kind < FIRST_THING)).reshape(height, width), (kind >= FIRST_THING).reshape(height, width)]
    fine = layers[0].copy()  # of the room every fourth pixel is enough
    fine[::2, ::2] = True
    some = surface.rows(np.flatnonzero(fine.ravel()[surface.hit]))
    sampled = np.zeros((1 + len(lights.direct), len(flat)), np.float32)
    sampled[0, some.hit] = openness_of(stage, some, rng)
    sampled[1:, some.hit] = lights_seen(stage, some, lights, rng)
    sampled = _smooth(sampled.reshape(-1, height, width), layers, fine).reshape(-1, len(flat))
    picture = np.zeros_like(flat) if backdrop is None else backdrop.reshape(-1, 3).copy()
    near = sampled.take(surface.hit, axis=1)
    picture[surface.hit] = shade(stage, surface, near[0], near[1:], lights)
    person = layers[0].ravel().astype(np.float32)
    edges = _edges(kind.reshape(height, width), depth.reshape(height, width))
    right, down = (flat[1] - flat[0], flat[width] - flat[0])
    behind = picture[edges].copy() if backdrop is None else backdrop.reshape(-1, 3)[edges]
    total, count = picture[edges].copy(), person[edges].copy()
    for x, y in SUBPIXELS:
        more = meet(stage, flat[edges] + np.float32(x) * right + np.float32(y) * down)
        at = edges[more.hit]
        colours = behind.copy()
        near = sampled.take(at, axis=1)
        colours[more.hit] = shade(stage, more, near[0], near[1:], lights)
        total += colours
        count[more.hit] += more.kind < FIRST_THING
    picture[edges], person[edges] = total / (1 + len(SUBPIXELS)), count / (1 + len(SUBPIXELS))
    return develop(picture.reshape(height, width, 3), person.reshape(height, width), rng)


def _smooth(sampled: Array32, layers: list[NDArray[np.bool_]], fine: NDArray[np.bool_]) -> Array32:
    """(n, H, W): the mean over what was sampled (`fine`) near each pixel in its layer, person or room.

    Of the first, surroundings, over more.
    """
    out = np.ones_like(sampled)
    for layer, sides in zip(layers, ((7, 3), (17, 9)), strict=True):
        inside = (layer & fine).astype(np.float32)
        shares = [np.maximum(box_blur(inside, side), np.float32(1e-6)) for side in sides]
        for number, plane in enumerate(sampled):
            kind = min(number, 1)
            mean = box_blur(plane * inside, sides[kind])
            mean /= shares[kind]
            np.copyto(out[number], mean, where=layer)
    return out


def _edges(kind: NDArray[np.int32], depth: Array32) -> NDArray[np.intp]:
    """Flat indices of pixels on either side of a step."""
    step = np.zeros(kind.shape, bool)
    for ahead, back in (
        ((slice(1, None),), (slice(None, -1),)),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
    ):
        differs = (kind[ahead] != kind[back]) | (np.abs(depth[ahead] - depth[back]) > EDGE_MM)
        step[ahead] |= differs
        step[back] |= differs
    return np.flatnonzero(step)


def develop(light: Array32, person: Array32, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Linear light (H, W, 3) and coverage by the person (H, W) -> what a camera of some kind makes of it."""
    if rng.random() < 0.3:
        light = _blur_background(light, person, float(rng.uniform(0.7, 4.0)))
    if rng.random() < 0.15:
        light = convolve(light, _streak(float(rng.uniform(2, 8)), float(rng.uniform(0, np.pi))))
    gains = np.exp(rng.normal(0, 0.07, 3)) * _exposure(light, person, rng)
    light = light * gains.astype(np.float32)
    light = gaussian_blur(light, float(rng.uniform(0.3, 0.9)))
    grain = rng.uniform(0.002, 0.02)
    light += rng.standard_normal(light.shape, dtype=np.float32) * np.sqrt(np.maximum(light, 0.002)) * np.float32(grain)
    out = (255 * np.clip(light, 0, 1) ** np.float32(1 / (GAMMA * rng.uniform(0.85, 1.15)))).astype(np.uint8)
    if rng.random() < 0.2:
        small = int(rng.integers(90, 220))
        out = resize(resize(out, small), len(out))
    if rng.random() < 0.35:
        squeezed = simplejpeg.encode_jpeg(np.ascontiguousarray(out), quality=int(rng.integers(25, 85)))
        out = simplejpeg.decode_jpeg(squeezed)
    return np.ascontiguousarray(out)


def _exposure(light: Array32, person: Array32, rng: np.random.Generator) -> float:
    """Brings the mean of person and picture to a middle grey, more or less."""
    brightness = light[::4, ::4].mean(axis=2)
    weight = 0.3 + person[::4, ::4]
    return float(np.exp(rng.normal(-1.45, 0.3)) / max((brightness * weight).sum() / weight.sum(), 0.02))


def _blur_background(light: Array32, person: Array32, sigma: float) -> Array32:
    room = (1 - person)[:, :, None]
    soft = gaussian_blur(light * room, sigma) / np.maximum(gaussian_blur(1 - person, sigma)[:, :, None], 1e-3)
    out: Array32 = soft * room + light * (1 - room)
    return out


def _streak(length_px: float, angle: float) -> Array32:
    """A line's kernel."""
    size = 2 * int(length_px / 2 + 1) + 1
    kernel = np.zeros((size, size), np.float32)
    middle, reach = (size - 1) / 2, length_px / 2
    for share in np.linspace(-1, 1, 4 * size):
        row, column = (round(middle + share * reach * part) for part in (np.sin(angle), np.cos(angle)))
        kernel[row, column] += 1
    return kernel / kernel.sum()
