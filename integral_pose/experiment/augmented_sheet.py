"""A sheet of training images as the network gets them, with their labels: for the eye, before a training does."""

from pathlib import Path

import numpy as np
import torch

from integral_pose.config.schema import Config
from integral_pose.data.augmentation import build_device_augmentation
from integral_pose.data.course import PoseTable
from integral_pose.datasets.contact_sheet import Cell, write_contact_sheet
from integral_pose.experiment.assembly import build_training_images

NUM_IMAGES = 24


def write_augmented_sheet(path: Path, config: Config, table: PoseTable, device: str | torch.device = "cpu") -> None:
    """Write images of the training `table`, evenly spaced, as the first pass over it shows them, as one PNG.

    Changed in the loader or on `device`, whichever the configuration says. Unreadable images are replaced by the next.
    """
    on_device = build_device_augmentation(config.data.augmentation, config.seed, table.skeleton.flip_order)
    images = build_training_images(config, table, on_device, seed=config.seed, skip_bad=True)
    rows = np.unique(np.linspace(0, len(table) - 1, NUM_IMAGES).round().astype(int)).tolist()
    batch = images.read(rows)
    if on_device:
        batch = on_device.change_pixels(batch.to(torch.device(device))).to(torch.device("cpu"))
    pictures, joints_crop_px = batch.images.permute(0, 2, 3, 1).numpy(), batch.joints_crop_px.numpy()
    titles = [Path(table.name(row)).name for row in batch.indices.tolist()]
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [Cell(*cell) for cell in zip(pictures, joints_crop_px, titles, strict=True)]
    write_contact_sheet(path, cells, table.skeleton)
