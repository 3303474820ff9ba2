"""One stored crop gives one pose, by `test`, by `predict` and by an exported network fed as its metadata say."""

from __future__ import annotations

import importlib
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from integral_pose import experiment, load_model
from integral_pose.config.loading import load_config
from integral_pose.evaluation.predictions_csv import read_predictions_csv
from integral_pose.io.images import read_picture
from integral_pose.skeleton import HUMAN36M
from integral_pose.synthetic.dataset import render_dataset
from integral_pose.weights.exporting import METADATA, export

STORED_PX = 256
AGREEMENT_MM = 0.5


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    root = tmp_path_factory.mktemp("people") / "set"
    render_dataset(root, num_train=8, num_valid=1, seed=1, workers=1, show_progress=False)
    for name in ("_images.txt", ".h5"):  # tested on what it is overfitted to
        shutil.copy(root / "annot" / f"train{name}", root / "annot" / f"valid{name}")
    return root


def box_whose_crop_is_the_picture(box_scale):
    side_px = STORED_PX / box_scale
    return [(STORED_PX - side_px) / 2] * 2 + [side_px] * 2


def resized(picture, steps):
    """What a user of the file does, without this package."""
    for step in steps:
        height, width = step["height_px"], step["width_px"]
        if "weights" in step:
            weights, cells = np.array(step["weights"]), picture.shape[0] // 8
            blocks = np.einsum("pi,rickd,qk->rpcqd", weights, picture.reshape(cells, 8, cells, 8, 3), weights)
            picture = blocks.reshape(height, width, 3).round().clip(0, 255).astype(np.uint8)
        else:
            picture = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
    return picture


@pytest.mark.usefixtures("tiny_backbone")
def test_test_predict_and_onnx_agree(people, tiny_yaml, tmp_path):
    overrides = [
        f"data.root={people}", f"data.stored_size={STORED_PX}", f"run_dir={tmp_path / 'run'}", "trainer.batch_size=8",
        "model.volume_depth=16", "model.deconv_channels=[32]", "stages.0.epochs=40", "stages.0.learning_rate=0.001",
        "trainer.log_every=50", "trainer.pictures_every=1000", "trainer.checkpoint_every=150", "evaluation.every=150",
    ]  # fmt: skip
    run = experiment.train(load_config(str(tiny_yaml), overrides).config)
    tested_mm = read_predictions_csv(experiment.test(run, []).predictions_csv, HUMAN36M)
    assert tested_mm.std(axis=0).max() > 50, "the network looks at the picture"
    names = (people / "annot" / "valid_images.txt").read_text().split()
    pictures = [read_picture(people / "images" / name) for name in names]

    def difference_mm(found_mm):
        return np.linalg.norm(found_mm - tested_mm, axis=-1).mean()

    model = load_model(run)
    box = box_whose_crop_is_the_picture(model.description.box_scale)
    predicted_mm = [model.predict(picture, [box])[0].joints_camera_mm for picture in pictures]
    assert difference_mm(predicted_mm) < AGREEMENT_MM

    export(run, "onnx", tmp_path / "m.onnx")
    session = importlib.import_module("onnxruntime").InferenceSession(tmp_path / "m.onnx")
    steps = json.loads(session.get_modelmeta().custom_metadata_map[METADATA])["crop"]["resize"]

    def exported_mm(steps):
        crops = np.stack([resized(picture, steps) for picture in pictures]).transpose(0, 3, 1, 2).astype(np.float32)
        return session.run(["joints"], {"images": crops})[0]

    assert difference_mm(exported_mm(steps)) < AGREEMENT_MM
    assert difference_mm(exported_mm(steps[-1:])) > 2 * AGREEMENT_MM, "another filter is another picture"
