"""From pixels to poses with a network of which the answers are known: it finds dots by their colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import integral_pose
from integral_pose.contracts import CropViews
from integral_pose.errors import CheckpointError, ConfigError, DataError
from integral_pose.geometry.camera import Camera
from integral_pose.geometry.coordinates import CropVolume, ImageVolume, MetricVolume
from integral_pose.geometry.crop import rectangle_round_box
from integral_pose.heatmaps.outputs import VolumeLogits
from integral_pose.heatmaps.reference import soft_argmax
from integral_pose.predict.placing import place_in_crop
from integral_pose.predict.pose_model import PoseModel
from integral_pose.skeleton import Skeleton
from integral_pose.weights.model_file import ModelDescription, save_model_file
from integral_pose.weights.stored_network import LoadedNetwork

THREE = Skeleton(("Pelvis", "L", "R"), {"L": "Pelvis", "R": "Pelvis"}, (("L", "R"),))
DOTS_PX = np.array([[60.0, 50.0], [96.0, 42.0], [48.0, 74.0]])  # pelvis red, left green, right blue
BOX = [40.0, 30.0, 64.0, 56.0]
HEIGHT_PX, WIDTH_PX = 64, 96
INTRINSICS = (500.0, 500.0, 80.0, 60.0)


class Dots(torch.nn.Module):
    """Each colour's brightness is the heat map of one joint, the same in each of D = 5 layers but for their weights."""

    edge_cells = False

    def __init__(self, space, layers=(0, 0, 1, 0, 0)):
        super().__init__()
        self.space, self.layers = space, torch.tensor(layers).float()

    def forward(self, images):
        cells = torch.nn.functional.avg_pool2d(images.float(), 2)
        logits = (self.layers[:, None, None] * cells[:, :, None] + 1e-9).log()
        return VolumeLogits(logits, edge_cells=self.edge_cells)


def model_of(space, layers=(0, 0, 1, 0, 0), **description):
    said = ModelDescription(
        {}, (HEIGHT_PX, WIDTH_PX), THREE, **{"crop_aspect": 1.5, "bone_length_mm": 900.0} | description
    )
    return PoseModel(LoadedNetwork(Dots(space, layers), said, Path("dots")))


@pytest.fixture
def picture():
    """(120, 160, 3): three soft dots on black."""
    y, x = np.mgrid[:120, :160] + 0.5
    dots = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18) for px, py in DOTS_PX]
    return np.round(255 * np.stack(dots, -1)).astype(np.uint8)


@pytest.fixture
def image_model():
    return model_of(ImageVolume(2000.0, HEIGHT_PX, WIDTH_PX, 0))


@pytest.fixture
def metric_model():
    return model_of(MetricVolume(2200.0, 0))


def test_pixels_come_back_through_the_crop(image_model, picture):
    (pose,) = image_model.predict(picture, [BOX])
    np.testing.assert_allclose(pose.joints_image_px, DOTS_PX, atol=0.1)
    assert pose.names == THREE.names
    np.testing.assert_array_equal(pose.box_image_px, BOX)
    assert pose.placement == "bone lengths"
    assert pose.root_camera_mm is None
    # No depth, so the bones share 900 mm in proportion to their px.
    flat_px = DOTS_PX - DOTS_PX[0]
    mm_a_px = 900 / np.linalg.norm(flat_px, axis=-1).sum()
    np.testing.assert_allclose(pose.joints_camera_mm, np.column_stack([flat_px * mm_a_px, np.zeros(3)]), atol=2)
    assert ((pose.confidence > 0.3) & (pose.confidence <= 1)).all()
    assert ((pose.entropy > 0) & (pose.entropy < 0.7)).all()


def test_boxes_without_a_box_and_without_people(image_model, picture):
    near = image_model.predict(picture, np.array([BOX, [30, 20, 90, 80], [0, 0, 160, 120]]))
    assert len(near) == 3
    for pose in near:
        np.testing.assert_allclose(pose.joints_image_px, DOTS_PX, atol=0.6)
    (whole,) = image_model.predict(picture)
    np.testing.assert_array_equal(whole.joints_image_px, near[2].joints_image_px)
    assert image_model.predict(picture, []) == []


def test_more_people_than_a_batch_are_the_same_people(image_model, picture):
    many = image_model.predict(picture, [BOX] * 11)
    assert len(many) == 11
    np.testing.assert_allclose([pose.joints_image_px for pose in many], [DOTS_PX] * 11, atol=0.1)


def test_a_path_a_pillow_image_and_its_rotation_in_the_metadata(image_model, picture, tmp_path):
    (upright,) = image_model.predict(picture, [BOX])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(picture).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    for image in (str(tmp_path / "turned.png"), tmp_path / "turned.png", Image.open(tmp_path / "turned.png")):
        (pose,) = image_model.predict(image, [BOX])
        np.testing.assert_array_equal(pose.joints_image_px, upright.joints_image_px)


def test_the_flip_swaps_sides_and_averages(image_model, picture):
    # The network knows dots by colour: in the mirrored crop its left is where the true right is to be.
    (pose,) = image_model.predict(picture, [BOX], flip=True)
    middle_px = DOTS_PX[1:].mean(axis=0)
    np.testing.assert_allclose(pose.joints_image_px, [DOTS_PX[0], middle_px, middle_px], atol=0.1)


def test_a_metric_pose_is_laid_over_its_box(metric_model, picture):
    (pose,) = metric_model.predict(picture, [BOX])
    assert pose.placement == "box"
    # Norm of the rectangle, in which the height is 1.12 * 56 and the width 1.5 times that, is norm of the cube.
    tall = 1.12 * 56
    norm = (DOTS_PX - DOTS_PX[0]) / [1.5 * tall, tall]
    np.testing.assert_allclose(pose.joints_camera_mm[:, :2], norm * 2200, atol=6)
    lower, upper = pose.joints_image_px.min(0), pose.joints_image_px.max(0)
    np.testing.assert_allclose((lower + upper) / 2, [72, 58])
    (placed,) = metric_model.predict(picture, [BOX], intrinsics=INTRINSICS)
    assert placed.placement == "box, intrinsics"
    np.testing.assert_array_equal(placed.joints_camera_mm, pose.joints_camera_mm)
    x, y, z = (placed.joints_camera_mm + placed.root_camera_mm).T
    np.testing.assert_allclose(placed.joints_image_px, np.column_stack([500 * x / z + 80, 500 * y / z + 60]))
    (given,) = metric_model.predict(picture, [BOX], intrinsics=INTRINSICS, root_depth_mm=7000)
    assert (given.root_camera_mm[2], given.placement) == (7000, "box, root depth, intrinsics")


def test_an_image_volume_with_a_camera(picture):
    # Deeper layers for all joints: z is the same, so the pose is flat and its bones tell how far it is.
    model = model_of(ImageVolume(2000.0, HEIGHT_PX, WIDTH_PX, 0), layers=(0, 0, 0, 0, 1))
    (pose,) = model.predict(picture, [BOX], intrinsics=INTRINSICS, root_depth_mm=4000)
    assert pose.placement == "root depth, intrinsics"
    depth_mm = 4000 + 0.4 * 2000
    expected_mm = np.column_stack([(DOTS_PX - [80, 60]) / 500 * depth_mm, np.full(3, depth_mm)])
    np.testing.assert_allclose(pose.joints_camera_mm + pose.root_camera_mm, expected_mm, atol=2)
    (found,) = model.predict(picture, [BOX], intrinsics=INTRINSICS)
    assert found.placement == "bone lengths, intrinsics"
    lengths = np.linalg.norm(found.joints_camera_mm[1:], axis=-1)
    assert lengths.sum() == pytest.approx(900)


def test_placing_is_the_inverse_of_projecting_and_what_training_lifts():
    space, rng = ImageVolume(2000.0, 64, 96, 0), np.random.default_rng(0)
    rectangle = rectangle_round_box((300.0, 200.0, 120.0, 160.0), 1.2, 1.5)
    joints_mm = rng.uniform(-300, 300, (3, 3)) + np.array([150, -50, 4200])
    fx, fy, cx, cy = 900.0, 950.0, 330.0, 290.0
    camera = Camera(np.eye(3), np.zeros(3), np.array([fx, fy]), np.array([cx, cy]), np.zeros(3), np.zeros(2), 640, 480)
    px = camera.camera_to_image_px(joints_mm)
    norm = (px - [rectangle.left_px, rectangle.top_px]) / [rectangle.width_px, rectangle.height_px] - 0.5
    joints_norm = np.column_stack([norm, (joints_mm[:, 2] - joints_mm[0, 2]) / 2000])
    bones_mm = float(np.linalg.norm(joints_mm[1:] - joints_mm[0], axis=-1).sum())
    said = ModelDescription({}, (64, 96), THREE, bone_length_mm=bones_mm)
    for root_depth_mm in (joints_mm[0, 2], None):
        placed = place_in_crop(joints_norm, rectangle, space, said, camera, root_depth_mm)
        np.testing.assert_allclose(placed.root_camera_mm, joints_mm[0], rtol=1e-6)
        np.testing.assert_allclose(placed.joints_camera_mm, joints_mm - joints_mm[0], rtol=1e-6, atol=1e-4)
        np.testing.assert_allclose(placed.joints_image_px, px)
    views = CropViews(
        torch.tensor([[fx, fy, cx, cy, 0, 0, 0, 0, 0]]).double(),
        torch.from_numpy(rectangle.crop_to_image(64, 96))[None],
        torch.from_numpy(joints_mm[:1]),
        torch.eye(3).double()[None],
    )
    lifted_mm = space.decode(torch.from_numpy(joints_norm)[None], views)[0].numpy()
    np.testing.assert_allclose(lifted_mm, joints_mm - joints_mm[0], atol=1e-6)


def test_depth_in_pixels_of_the_crop_by_hand():
    # A crop px is 2 px of the picture. Bones: (3, 0, 4) and (0, 12, 5) * 10 px, 50 and 130 px long; 1800 mm together.
    said = ModelDescription({}, (64, 96), THREE, bone_length_mm=1800.0, depth_extent_crop_px=96.0)
    rectangle = rectangle_round_box((0.0, 0.0, 192.0, 128.0), 1.0, 1.5)
    joints_norm = np.array([[0.0, 0, 0], [30 / 192, 0, 40 / 192], [0, 120 / 128, 50 / 192]])
    space = CropVolume(96.0, 64, 96, 1800.0, THREE.bones, 0)
    placed = place_in_crop(joints_norm, rectangle, space, said, None, None)
    np.testing.assert_allclose(placed.joints_camera_mm, [[0, 0, 0], [300, 0, 400], [0, 1200, 500]])
    assert placed.placement == "bone lengths"


@pytest.mark.parametrize(
    ("image", "boxes", "message"),
    [
        ("none.jpg", None, "none.jpg: there is no such file"),
        (np.zeros((40, 40), np.uint8), None, r"expected a path, .* \(H, W, 3\) of uint8, found uint8 \(40, 40\)"),
        (np.zeros((40, 40, 3)), None, "found float64"),
        (3, None, "found int"),
        (np.zeros((8, 8, 3), np.uint8), None, "the image: is 8 x 8 px"),
        (Image.new("F", (40, 40)), None, "the image cannot be used: it has more than 16 bits"),
        (np.zeros((40, 40, 3), np.uint8), [[50, 0, 5, 5]], "the image: the box 50,0,5,5 lies outside"),
    ],
)  # fmt: skip
def test_what_is_no_image_or_box(image, boxes, message, image_model):
    with pytest.raises(DataError, match=message):
        image_model.predict(image, boxes)


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ({"root_depth_mm": 100}, "a root depth says nothing without intrinsics"),
        ({"intrinsics": (1, 2, 3)}, "intrinsics: expected fx,fy,cx,cy"),
        ({"intrinsics": (0, 1, 0, 0)}, "intrinsics: expected fx,fy,cx,cy"),
        ({"intrinsics": (float("nan"), 1, 0, 0)}, "intrinsics: expected fx,fy,cx,cy"),
        ({"intrinsics": INTRINSICS, "root_depth_mm": -1}, "root depth: expected mm above 0, found -1"),
    ],
)
def test_what_is_no_camera(view, message, image_model, picture):
    with pytest.raises(ConfigError, match=message):
        image_model.predict(picture, **view)


def test_a_network_that_broke_says_so(picture):
    model = model_of(ImageVolume(2000.0, HEIGHT_PX, WIDTH_PX, 0), layers=(float("nan"),) * 5)
    with pytest.raises(DataError, match="dots: gives NaN or infinite joints for the box"):
        model.predict(picture, [BOX])


@pytest.mark.usefixtures("tiny_backbone")
@pytest.mark.parametrize("head", ["volumetric", "regression"])
def test_three_lines_of_python(head, tmp_path, picture):
    from_file = {"backbone": "resnet18", "num_joints": 3, "deconv_channels": [8], "volume_depth": 4, "head": head}
    description = ModelDescription(from_file, (64, 96), THREE, crop_aspect=1.5)
    save_model_file(tmp_path / "m.pt", description, built(from_file))
    model = integral_pose.load_model(tmp_path / "m.pt").to("cpu")
    (pose,) = model.predict(picture, boxes=[BOX])
    crop = torch.from_numpy(model._crop(picture, model._rectangle(np.array(BOX)))).permute(2, 0, 1)[None]
    expected_mm = model.network.predict_camera_mm(crop)[0].detach()
    np.testing.assert_allclose(pose.joints_camera_mm, expected_mm, rtol=1e-5, atol=1e-3)
    assert (pose.confidence is None) == (head == "regression")


def built(section):
    from integral_pose.config.schema import ModelConfig
    from integral_pose.models.pose_net import build_network

    torch.manual_seed(0)
    return build_network(ModelConfig(**section), (64, 96), 0, pretrained=False).state_dict()


def test_no_model(tmp_path):
    with pytest.raises(CheckpointError, match="none: there is no such run folder or checkpoint"):
        integral_pose.load_model(str(tmp_path / "none"))


def test_edge_cells_leave_the_confidence_alone(picture):
    model = model_of(ImageVolume(2000.0, HEIGHT_PX, WIDTH_PX, 0))
    (centred,) = model.predict(picture, [BOX])
    model.network.edge_cells = True
    (edge,) = model.predict(picture, [BOX])
    np.testing.assert_array_equal(centred.confidence, edge.confidence)
    # Half a cell, which is a px of the crop; the rectangle is 94.08 px wide and the crop 96.
    np.testing.assert_allclose(centred.joints_image_px - edge.joints_image_px, 94.08 / 96, rtol=1e-4)


def test_dots_find_dots():
    """The test's own network: a dot in the middle of a cell is at its centre."""
    image = torch.zeros(1, 3, 8, 12, dtype=torch.uint8)
    image[0, 1, 2:4, 4:6] = 200
    found = soft_argmax(Dots(None)(image).logits)[0, 1]
    np.testing.assert_allclose(found, [2.5 / 6 - 0.5, 1.5 / 4 - 0.5, 0], atol=1e-5)
