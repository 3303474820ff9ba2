"""A tiny data set in the course layout and a tiny experiment on it, for every test that needs one."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

# Before torch is loaded, and for processes that tests start: small tensors are slower on many threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")  # forked loader workers would wait for threads that stayed behind

import h5py
import numpy as np
import pytest
import simplejpeg
import torch
import yaml
from hypothesis import settings
from numpy.typing import NDArray

from integral_pose.config.schema import Config
from integral_pose.io.skeleton_file import write_skeleton
from integral_pose.models.backbones.resnet import IMAGE_MEAN, IMAGE_STD
from integral_pose.models.pose_net import PoseNet, build_network
from integral_pose.skeleton import HUMAN36M
from tests.fork_server import ForkServer
from tests.people_21 import PEOPLE_21, to_people_21

torch.set_num_threads(1)
# No deadline, since the machine may be busy; the same examples in every run, so that a test does not fail by chance.
settings.register_profile("suite", deadline=None, derandomize=True, database=None)
settings.load_profile("suite")

TRAIN_SUBJECTS, TEST_SUBJECTS = ("S1", "S5", "S6", "S7", "S8"), ("S9", "S11")
# Facing the camera, so that the person's left is at positive x; y points down.
STANDING_MM = np.array([
    [0, 0, 0], [-130, 0, 0], [-130, 450, 0], [-130, 880, 30], [130, 0, 0], [130, 450, 0], [130, 880, 30],
    [0, -230, 0], [0, -480, 0], [0, -560, -90], [0, -680, 0],
    [150, -450, 0], [260, -220, 0], [280, 0, -50], [-150, -450, 0], [-260, -220, 0], [-280, 0, -50],
])  # fmt: skip
ACTIONS = ("Directions", "Walking", "SittingDown")


def draw_image(side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(side, side, 3): a smooth random image, which JPEG changes little."""
    y, x = np.mgrid[:side, :side] / side * 2 * np.pi
    waves = [np.sin(a * x + b * y + c) for a, b, c in rng.uniform(-1.5, 1.5, (3, 3))]
    return np.stack([127.5 + 100 * wave for wave in waves], -1).round().astype(np.uint8)


def draw_poses(number: int, side: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Random standing poses: px of the crop (N, 17, 2), and mm in camera axes away from the origin (N, 17, 3)."""
    body_mm = STANDING_MM + rng.normal(0, 40, (number, 17, 3))
    crop_px = (0.5 + body_mm[..., :2] / 2200) * side
    camera_mm = body_mm + rng.uniform(-500, 5000, (number, 1, 3))
    return crop_px.astype(np.float32), camera_mm.astype(np.float32)


def write_course(
    root: Path, *, num_train: int = 10, num_valid: int = 5, side: int = 64, seed: int = 0, valid_labels: bool = True,
    has_21_joints: bool = False,
) -> Path:  # fmt: skip
    """A data set of `side` x `side` px JPEGs; training images are of five subjects in turn, test images of two."""
    rng = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    (root / "annot").mkdir()
    for split, subjects, number in (("train", TRAIN_SUBJECTS, num_train), ("valid", TEST_SUBJECTS, num_valid)):
        names = [
            f"{subjects[i % len(subjects)]}_{ACTIONS[i % len(ACTIONS)]}_1.54138969_{i + 1:06d}.jpg"
            for i in range(number)
        ]
        for name in names:
            encoded = simplejpeg.encode_jpeg(
                draw_image(side, rng), quality=95, colorspace="RGB", colorsubsampling="444"
            )
            (root / "images" / name).write_bytes(encoded)
        (root / "annot" / f"{split}_images.txt").write_text("".join(name + "\n" for name in names))
        crop_px, camera_mm = draw_poses(number, side, rng)
        if has_21_joints:
            crop_px, camera_mm = to_people_21(crop_px), to_people_21(camera_mm)
            write_skeleton(root / "annot", PEOPLE_21)
        if split == "train" or valid_labels:
            with h5py.File(root / "annot" / f"{split}.h5", "w") as file:
                file["pose2d"], file["pose3d"] = crop_px, camera_mm
    return root


@pytest.fixture(scope="session")
def course_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 training and 5 test images of 64 x 64 px with labels. Shared by all tests: read only."""
    return write_course(tmp_path_factory.mktemp("data") / "course")


@pytest.fixture
def own_course_root(tmp_path: Path) -> Path:
    """A copy of that data set, for a test to damage."""
    return write_course(tmp_path / "course")


@pytest.fixture
def make_course(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes another data set: make_course(num_train=3, side=256) -> root."""
    return lambda name="made", **options: write_course(tmp_path / name, **options)


TINY: dict[str, Any] = {
    "run_dir": "runs/tiny",
    "seed": 0,
    "data": {
        "root": "data",
        "image_size": [64, 64],
        "stored_size": 64,
        "workers": 0,
        "augmentation": {"backend": "none"},
    },
    "model": {"backbone": "resnet18", "deconv_channels": [8], "volume_depth": 4},
    "stages": [{"epochs": 2, "weights": {"integral": 1.0}, "learning_rate": 1e-3}],
    "trainer": {"batch_size": 4, "device": "cpu", "log_every": 1, "pictures_every": 100},
    "evaluation": {"batch_size": 4, "every": 100},
}


@pytest.fixture
def tiny_values(course_root: Path, tmp_path: Path) -> dict[str, Any]:
    """A small complete experiment on `course_root` with its run folder under `tmp_path`; a test may change it."""
    values = copy.deepcopy(TINY)
    values["data"]["root"], values["run_dir"] = str(course_root), str(tmp_path / "run")
    return values


@pytest.fixture
def write_yaml(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes values as a YAML file: write_yaml(values) -> path."""

    def write(values: dict[str, Any], name: str = "tiny.yaml") -> Path:
        path = tmp_path / name
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        return path

    return write


@pytest.fixture
def tiny_yaml(tiny_values: dict[str, Any], write_yaml: Callable[..., Path]) -> Path:
    """`tiny_values` as a YAML file."""
    return write_yaml(tiny_values)


class TinyFeatures(torch.nn.Module):
    """A backbone of 20 thousand parameters for tests that make many steps or write many checkpoints."""

    image_mean, image_std = IMAGE_MEAN, IMAGE_STD

    def __init__(self, name: str, stride: int = 32, image_size: Sequence[int] = ()) -> None:
        super().__init__()
        self.num_channels = 32
        layers: list[torch.nn.Module] = []
        for inputs, outputs, stride in ((3, 8, 4), (8, 16, 4), (16, 32, 2)):
            layers += [torch.nn.Conv2d(inputs, outputs, 5, stride, 2), torch.nn.BatchNorm2d(outputs), torch.nn.ReLU()]
        self.layers = torch.nn.Sequential(*layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


def build_network_of(config: Config, *, pretrained: bool = True) -> PoseNet:
    """The network of a configuration, without its criterion and data set."""
    return build_network(config.model, config.data.image_size, HUMAN36M.root, pretrained=pretrained)


@pytest.fixture
def tiny_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build every network of this test with `TinyFeatures` as its backbone."""
    monkeypatch.setattr("integral_pose.models.pose_net.build_backbone", TinyFeatures)


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """Starts processes quickly, for tests that kill them. See tests/fork_server.py."""
    with ForkServer() as server:
        yield server
