"""Ray casting of ellipsoids and tapered cylinders in closed form, with a depth buffer and shading.

In the axes of a solid a point p lies on its surface where  sum(diagonal * p^2) + 2 slope p_z + constant = 0.
A ray t (x, y, 1) from the camera then meets it where  quad t^2 + 2 lin t + rest = 0,  and the discriminant is
itself a quadratic polynomial of x and y: most pixels are decided by nine multiplications and additions.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from integral_pose.contracts import Array
from integral_pose.geometry.camera import Camera
from integral_pose.geometry.crop import Crop

Array32 = NDArray[np.float32]
Colour = tuple[float, ...]  # RGB, 0..255

BANDS = 4  # colours along the axis of a solid
EVERYWHERE = (1e9, 1e9, 1e9)  # cuts of a solid of one colour


class Paint(NamedTuple):
    """Colours along the z axis of a solid, changing at the cuts (mm)."""

    colours: tuple[Colour, Colour, Colour, Colour]
    cuts_mm: tuple[float, float, float] = EVERYWHERE


class Solid(NamedTuple):
    """A quadric in its own axes; rows of `axes` are these axes in camera axes, lengths in mm."""

    center_mm: Array
    axes: Array  # (3, 3)
    diagonal: tuple[float, float, float]
    slope: float
    constant: float
    low_mm: tuple[float, float, float]  # box that holds it; its z range also cuts the surface
    high_mm: tuple[float, float, float]
    paint: Paint

    @property
    def open_ended(self) -> bool:
        """Whether the z range cuts the surface."""
        return self.diagonal[2] <= 0


class Hits(NamedTuple):
    """The visible surface. `depth_mm` (H, W) is infinite where there is none, `solid` (H, W) is -1 there."""

    depth_mm: Array32
    solid: NDArray[np.int16]


def plain(colour: Colour) -> Paint:
    """One colour all over."""
    return Paint((colour, colour, colour, colour))


def ellipsoid(center_mm: Array, axes: Array, radii_mm: tuple[float, float, float], paint: Paint) -> Solid:
    """An ellipsoid; the rows of `axes` are the directions of its radii."""
    a, b, c = radii_mm
    diagonal = (1 / a**2, 1 / b**2, 1 / c**2)
    return Solid(center_mm, axes, diagonal, 0.0, -1.0, (-a, -b, -c), radii_mm, paint)


def ball(center_mm: Array, radius_mm: float, paint: Paint) -> Solid:
    """A sphere."""
    return ellipsoid(center_mm, np.eye(3), (radius_mm,) * 3, paint)


def tapered(
    start_mm: Array, end_mm: Array, start_radius_mm: float, end_radius_mm: float, paint: Paint, *,
    forward: Array | None = None, width: float = 1.0,
) -> Solid:  # fmt: skip
    """A tapered cylinder without caps; its section is `width` times as wide across `forward` as along it."""
    along = end_mm - start_mm
    length = float(np.sqrt(along @ along))
    up = along / length
    across = np.array([up[1], -up[0], 0.0]) if forward is None else forward - up * (up @ forward)
    if across @ across < 1e-9:  # the axis is the z axis
        across = np.array([1.0, 0.0, 0.0])
    growth = (end_radius_mm - start_radius_mm) / length
    wide = max(start_radius_mm, end_radius_mm)
    return Solid(
        start_mm,
        _axes(across, up),
        (1.0, 1 / width**2, -(growth**2)),
        -growth * start_radius_mm,
        -(start_radius_mm**2),
        (-wide, -wide * width, 0.0),
        (wide, wide * width, length),
        paint,
    )


def cast(solids: list[Solid], rays: Array32, camera: Camera, crop: Crop) -> Hits:
    """The nearest surface along each ray. rays (2, H, W): x and y of the point on the plane z = 1."""
    depth_mm = np.full(rays.shape[1:], np.inf, dtype=np.float32)
    owner = np.full(rays.shape[1:], -1, dtype=np.int16)
    flat_depth, flat_owner = depth_mm.reshape(-1), owner.reshape(-1)
    numbers = np.arange(depth_mm.size).reshape(depth_mm.shape)
    forms = _ray_polynomials(solids)
    for index, (left, top, right, bottom) in enumerate(_screen_boxes(solids, camera, crop)):
        x, y = (plane.ravel() for plane in rays[:, top:bottom, left:right])
        s, b, u = forms.discriminant[index], forms.lin[index], forms.up[index]
        discriminant = (s[3] * x + s[4] * y + s[1]) * x + (s[5] * y + s[2]) * y + s[0]
        crossed = (discriminant > 0).nonzero()[0]
        pixels = numbers[top:bottom, left:right].ravel().take(crossed)
        x, y = x.take(crossed), y.take(crossed)
        # The nearer of the two solutions, free of `quad`: (-lin - root) / quad = rest / (root - lin).
        t = forms.rest[index] / (np.sqrt(discriminant.take(crossed)) - (b[1] * x + b[2] * y + b[0]))
        seen = t < flat_depth.take(pixels)
        if solids[index].open_ended:
            along = t * (u[1] * x + u[2] * y + u[0]) + u[3]
            seen &= (along >= u[4]) & (along <= u[5])
        pixels = pixels[seen]
        flat_depth[pixels] = t[seen]
        flat_owner[pixels] = index
    return Hits(depth_mm, owner)


def shade(
    solids: list[Solid], hits: Hits, rays: Array32, light: Array, ambient: float
) -> tuple[NDArray[np.intp], Array32]:
    """Flat pixel numbers that show a solid, and their colours (3, n), 0..255.

    light (3,) is the unit vector towards the light in camera axes; the unlit side gets the share `ambient`.
    """
    pixels = np.flatnonzero(hits.solid.reshape(-1) >= 0)
    owner = hits.solid.reshape(-1)[pixels]
    depth = hits.depth_mm.reshape(-1)[pixels]
    x, y = rays[0].reshape(-1)[pixels] * depth, rays[1].reshape(-1)[pixels] * depth

    axes = np.array([s.axes for s in solids])  # (P, 3, 3)
    offsets = -np.einsum("pij,pj->pi", axes, [s.center_mm for s in solids])
    diagonal = np.array([s.diagonal for s in solids])
    table = np.concatenate([axes.reshape(-1, 9), offsets, diagonal, axes @ light], axis=1)
    table = np.concatenate([table, np.array([[s.slope, *s.paint.cuts_mm] for s in solids])], axis=1)
    columns = table.T.astype(np.float32).take(owner, axis=1)  # (22, n)

    local = [
        columns[3 * i] * x + columns[3 * i + 1] * y + columns[3 * i + 2] * depth + columns[9 + i] for i in range(3)
    ]
    normal = [local[i] * columns[12 + i] for i in range(3)]
    normal[2] += columns[18]
    square = normal[0] * normal[0] + normal[1] * normal[1] + normal[2] * normal[2]
    towards = normal[0] * columns[15] + normal[1] * columns[16] + normal[2] * columns[17]
    lit = np.maximum(towards / np.sqrt(square), 0) * np.float32(1 - ambient) + np.float32(ambient)

    band = (local[2] > columns[19]).astype(np.intp)
    band += local[2] > columns[20]
    band += local[2] > columns[21]
    palette = np.array([s.paint.colours for s in solids], dtype=np.float32).reshape(-1, 3)
    return pixels, palette.T.take(owner.astype(np.intp) * BANDS + band, axis=1) * lit


class _Polynomials(NamedTuple):
    """Polynomials of (x, y), a row each solid."""

    discriminant: Array32  # (P, 6) coefficients of 1, x, y, x^2, xy, y^2
    lin: Array32  # (P, 3) coefficients of 1, x, y
    rest: Array32  # (P,)
    up: Array32  # (P, 6) z along the ray a unit of depth: coefficients of 1, x, y; z of the camera, low, high


def _ray_polynomials(solids: list[Solid]) -> _Polynomials:
    axes = np.array([s.axes for s in solids])  # (P, 3, 3)
    offset = -np.einsum("pij,pj->pi", axes, [s.center_mm for s in solids])
    diagonal = np.array([s.diagonal for s in solids])
    slope, constant = np.array([(s.slope, s.constant) for s in solids]).T
    quad = np.einsum("pki,pk,pkj->pij", axes, diagonal, axes)
    gradient = diagonal * offset
    gradient[:, 2] += slope
    lin = np.einsum("pki,pk->pi", axes, gradient)
    rest = (diagonal * offset**2).sum(axis=1) + 2 * slope * offset[:, 2] + constant
    discriminant = lin[:, :, None] * lin[:, None, :] - rest[:, None, None] * quad
    ends = np.array([(s.low_mm[2], s.high_mm[2]) for s in solids])
    up = np.concatenate([axes[:, 2, [2, 0, 1]], offset[:, 2:], ends], axis=1)
    columns = (lin[:, [2, 0, 1]], rest, up)
    return _Polynomials(_coefficients(discriminant), *(column.astype(np.float32) for column in columns))


def _coefficients(form: Array) -> Array32:
    """Symmetric forms (P, 3, 3) on (x, y, 1) -> (P, 6)."""
    m = form
    terms = [m[:, 2, 2], 2 * m[:, 0, 2], 2 * m[:, 1, 2], m[:, 0, 0], 2 * m[:, 0, 1], m[:, 1, 1]]
    return np.stack(terms, axis=1).astype(np.float32)


def _screen_boxes(solids: list[Solid], camera: Camera, crop: Crop) -> list[list[int]]:
    """(left, top, right, bottom) pixels of the crop that can show each solid, right and bottom exclusive."""
    ends = np.array([(s.low_mm, s.high_mm) for s in solids])  # (P, 2, 3)
    corners = np.stack([ends[:, [i, j, k], [0, 1, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)], axis=1)
    axes = np.array([s.axes for s in solids])
    centers = np.array([s.center_mm for s in solids])
    corners_mm = corners @ axes + centers[:, None]  # (P, 8, 3)
    corners_px = crop.image_px_to_crop_px(camera.camera_to_image_px(corners_mm))
    low = np.floor(corners_px.min(axis=1) - 1).clip(0, crop.size_px)
    high = np.ceil(corners_px.max(axis=1) + 1).clip(0, crop.size_px)
    boxes: list[list[int]] = np.concatenate([low, high], axis=1).astype(int).tolist()
    return boxes


def axes_along(direction: Array, near: Array | None = None) -> Array:
    """Rows x, y, z: z along `direction` and x as near to `near` as can be; without it x is anything across."""
    z = direction / np.sqrt(direction @ direction)
    if near is None:
        near = np.array([1.0, 0.0, 0.0]) if abs(z[0]) < 0.8 else np.array([0.0, 1.0, 0.0])
    return _axes(near - z * (z @ near), z)


def _axes(across: Array, z: Array) -> Array:
    x = across / np.sqrt(across @ across)
    # By hand: np.cross takes ten times as long for a single pair.
    y = np.array([z[1] * x[2] - z[2] * x[1], z[2] * x[0] - z[0] * x[2], z[0] * x[1] - z[1] * x[0]])
    return np.array([x, y, z])
