"""A trained network as one file that runs without this package: ONNX, or a torch.export archive.

The soft-argmax and the normalisation are inside. A file is written only after it has been run and agrees with the
network; it carries its own description as JSON.
"""

import importlib
import io
import json
import math
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from integral_pose import __version__
from integral_pose.errors import CheckpointError, ConfigError
from integral_pose.geometry.coordinates import CropVolume, ImageVolume
from integral_pose.heatmaps.uncertain_output import deviation_of
from integral_pose.io.atomic import atomic_write
from integral_pose.io.images import BLOCK_PX, block_pixels, block_weights
from integral_pose.models.pose_net import PoseNet
from integral_pose.weights.model_file import ModelDescription
from integral_pose.weights.stored_network import LoadedNetwork, load_network

ExportFormat = Literal["onnx", "torch"]
EXPORT_FORMATS: tuple[ExportFormat, ...] = ("onnx", "torch")
ONNX_OPSET = 20
METADATA = "integral_pose.json"  # its name in the archive of torch.export, and its key in an ONNX file
CHECKED_BATCHES = (1, 2, 5)
LARGEST_DIFFERENCE_MM = 0.05
TRIANGLE = "triangle, widened where it shrinks: Pillow's BILINEAR"
BLOCKS = "each block of 8 x 8 px becomes weights @ block @ weights.T, channel by channel"


class ExportedFile(NamedTuple):
    """What was written, and its largest difference from the network."""

    path: Path
    metadata: dict[str, Any]
    difference_mm: float


class ExportedNetwork(nn.Module):
    """(B, 3, H, W) float32 RGB 0..255 -> joints (B, J, 3), in the units that the metadata name, and sigma (B, J) in mm
    where the network predicts it.
    """

    def __init__(self, network: PoseNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Where it is traced, the volume operator is its plain reference, which exporters understand."""
        output, space = self.network(images), self.network.space
        deviation = deviation_of(output)
        if deviation is not None:
            return space.decode(output.joints()), space.deviation_mm(deviation)
        if not isinstance(space, ImageVolume):
            return space.decode(output.joints())
        crop_px, depth_mm = space.crop_px_and_depth_mm(output.joints())
        return torch.cat([crop_px, depth_mm[..., None]], -1)


def export(path: Path, file_format: ExportFormat, out: Path) -> ExportedFile:
    """Write the network of a run folder, checkpoint or model file as `out`.

    Raises ConfigError where a package is missing, CheckpointError where the file would differ from the network by
    more than LARGEST_DIFFERENCE_MM at one of CHECKED_BATCHES.
    """
    if file_format not in EXPORT_FORMATS:
        raise ConfigError(f"unknown format '{file_format}'; known: {', '.join(EXPORT_FORMATS)}")
    loaded = load_network(path)
    metadata = describe(loaded, file_format)
    network = ExportedNetwork(loaded.network).eval()
    content = _to_onnx(network, loaded, metadata) if file_format == "onnx" else _to_archive(network, loaded, metadata)
    difference_mm = largest_difference_mm(network, loaded, _runner(content, file_format, output_names(metadata)))
    if not difference_mm <= LARGEST_DIFFERENCE_MM:
        raise CheckpointError(
            f"{loaded.source}: not exported, since the {file_format} file would be {difference_mm:.3g} mm off the "
            f"network, more than {LARGEST_DIFFERENCE_MM}"
        )
    with atomic_write(out) as file:
        file.write(content)
    return ExportedFile(out, metadata, difference_mm)


def describe(loaded: LoadedNetwork, file_format: ExportFormat) -> dict[str, Any]:
    """All that a user of the file needs to know, in plain types."""
    description, space = loaded.description, loaded.network.space
    height_px, width_px = description.image_size
    in_crop = isinstance(space, ImageVolume)
    return {
        "made_by": f"integral-pose {__version__}",
        "provenance": description.provenance,
        "format": file_format,
        "opset": ONNX_OPSET if file_format == "onnx" else None,
        "input": {
            "name": "images", "layout": "batch, channel, height, width", "dtype": "float32", "colour": "RGB",
            "range": [0, 255], "height_px": height_px, "width_px": width_px,
            "normalisation": "inside the network: give the pixels as they are",
        },
        "crop": {
            "box_scale": description.box_scale, "width_over_height": description.crop_aspect,
            "meaning": "rectangle about the middle of the box of the person's joints: the smallest of this shape that "
                       "holds the box, its sides times box_scale; what lies outside the picture is black",
            "resize": _resizing(description),
        },
        "output": {
            "name": "joints", "layout": "batch, joint, axis", "dtype": "float32",
            "axes": ["x right", "y down", "z away from the camera"],
            "units": ["crop_px", "crop_px", "mm"] if in_crop else ["mm", "mm", "mm"],
            "origin": "x, y: the crop's upper left corner; z: the root joint" if in_crop else "the root joint",
        },
        "sigma": None if loaded.network.uncertainty is None else {
            "name": "sigma", "layout": "batch, joint", "dtype": "float32", "unit": "mm",
            "meaning": "standard deviation of the joint's error along each axis",
        },
        "joints": list(description.skeleton.names),
        "root": description.skeleton.names[description.skeleton.root],
        "parents": dict(description.skeleton.parent_names),
        "mirror_pairs": [list(pair) for pair in description.skeleton.mirror_pairs],
        "volume": "crop" if isinstance(space, CropVolume) else description.network.get("volume", "metric"),
        "cells": description.cells,
        "lens": "the camera's" if description.undo_lens else "none: the crop's px are a pinhole's",
        "bone_length_mm": description.bone_length_mm,
    }  # fmt: skip


def _resizing(description: ModelDescription) -> list[dict[str, Any]]:
    """How `predict` gets from the rectangle to the network's input: step by step, each rounded to 8 bits."""
    stored_size, sizes_px = description.stored_size, [description.image_size]
    blocks: list[dict[str, Any]] = []
    if stored_size is not None:
        sizes_px.insert(0, (stored_size, stored_size))
        pixels = block_pixels(stored_size, *description.image_size)
        if pixels is not None:
            side_px = math.ceil(stored_size * pixels / BLOCK_PX)
            weights = block_weights(pixels).tolist()
            blocks = [{"height_px": side_px, "width_px": side_px, "filter": BLOCKS, "weights": weights}]
    first, *last = ({"height_px": height, "width_px": width, "filter": TRIANGLE} for height, width in sizes_px)
    return [first, *blocks, *last]


def largest_difference_mm(network: nn.Module, loaded: LoadedNetwork, run: Any) -> float:
    """Largest difference on any axis between `run` and the network on noise; pixels count by their mm."""
    space, sides_px = loaded.network.space, loaded.description.image_size
    mm_per_unit = torch.ones(3)
    if isinstance(space, ImageVolume):  # the volume is about as wide as it is deep
        mm_per_unit[:2] = space.depth_extent_mm / torch.tensor([space.width_px, space.height_px])
    generator, differences_mm = torch.Generator().manual_seed(0), []
    for batch in CHECKED_BATCHES:
        images = torch.randint(0, 256, (batch, 3, *sides_px), generator=generator).float()
        with torch.inference_mode():
            outputs = network(images), run(images)
        expected, found = (values if isinstance(values, tuple) else (values,) for values in outputs)
        differences_mm.append(((found[0] - expected[0]) * mm_per_unit).abs().max())
        differences_mm += [(a - b).abs().max() for a, b in zip(found[1:], expected[1:], strict=True)]
    return torch.stack(differences_mm).max().item()  # NaN where one is


def _example(loaded: LoadedNetwork) -> Tensor:
    return torch.zeros(2, 3, *loaded.description.image_size)  # a batch of 1 would be taken for a constant


def _to_onnx(network: nn.Module, loaded: LoadedNetwork, metadata: dict[str, Any]) -> bytes:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        _optional(package)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about its own inner workings
        program = torch.onnx.export(
            network,
            (_example(loaded),),
            dynamo=True,
            opset_version=ONNX_OPSET,
            input_names=["images"],
            output_names=output_names(metadata),
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            verbose=False,
        )
    assert program is not None, "the exporter returns its program where it writes no file"
    model = program.model_proto
    _optional("onnx").helper.set_model_props(model, {METADATA: json.dumps(metadata)})
    return model.SerializeToString()


def _to_archive(network: nn.Module, loaded: LoadedNetwork, metadata: dict[str, Any]) -> bytes:
    program = torch.export.export(
        network, (_example(loaded),), dynamic_shapes={"images": {0: torch.export.Dim("batch")}}
    )
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={METADATA: json.dumps(metadata)})
    return buffer.getvalue()


def output_names(metadata: dict[str, Any]) -> list[str]:
    """Of the file's outputs, in their order."""
    return [metadata[key]["name"] for key in ("output", "sigma") if metadata[key] is not None]


def _runner(content: bytes, file_format: ExportFormat, names: list[str]) -> Any:
    """The written bytes as a function (B, 3, H, W) -> its outputs, run by what its users would run it with."""
    if file_format == "torch":
        return torch.export.load(io.BytesIO(content)).module()
    session = _optional("onnxruntime").InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda images: tuple(map(torch.from_numpy, session.run(names, {"images": images.numpy()})))


def _optional(package: str) -> ModuleType:
    """A package of the extra `export`. Raises ConfigError saying how to install it."""
    try:
        return importlib.import_module(package)
    except ImportError:
        raise ConfigError(
            f"the ONNX export needs the package {package}; install it with: pip install 'integral-pose[export]'"
        ) from None
