"""`integral-pose import-weights | export`."""

import argparse
from typing import Any

from integral_pose.cli.arguments import add_command, file_path, require_other_file

SOURCES = ("posenet", "mks-integral", "integral", "integral-challenge", "epipolar")


def add_model_commands(commands: Any) -> None:
    """Other projects' weights in, networks for other programs out."""
    importer = add_command(commands, "import-weights", "weights of another project -> a model file", _import)
    importer.add_argument("source", choices=SOURCES, metavar="SOURCE", help=f"the project: {' | '.join(SOURCES)}")
    importer.add_argument(
        "checkpoint", type=file_path, metavar="CHECKPOINT", help="its file, for example snapshot.pth.tar"
    )
    importer.add_argument("--out", type=file_path, required=True, metavar="MODEL.pt", help="the model file to write")

    exporter = add_command(commands, "export", "a trained network -> ONNX, or a torch.export archive", _export)
    exporter.add_argument("model", type=file_path, metavar="MODEL", help="a run folder, checkpoint or model file")
    exporter.add_argument("--format", choices=("onnx", "torch"), default="onnx", help="(%(default)s)")
    exporter.add_argument("--out", type=file_path, required=True, metavar="FILE", help="the file to write")


def _import(options: argparse.Namespace) -> None:
    from integral_pose.weights.importing import import_weights

    require_other_file("--out", options.out, options.checkpoint)
    done = import_weights(options.source, options.checkpoint, options.out)
    description = done.description
    height_px, width_px = description.image_size
    print(
        f"{done.path}: {description.provenance}\n"
        f"  {description.network['backbone']}, {done.num_weights:,} numbers, crops of {height_px} x {width_px} px "
        f"(height x width), depth {description.network['volume_depth']}\n"
        f"  {description.skeleton.num_joints} joints: {' '.join(description.skeleton.names)}\n"
        f"next: integral-pose test {done.path} data.root=FOLDER"
    )


def _export(options: argparse.Namespace) -> None:
    from integral_pose.weights.exporting import CHECKED_BATCHES, export

    require_other_file("--out", options.out, options.model, *options.model.glob("*.pt"))
    done = export(options.model, options.format, options.out)
    size, units = done.path.stat().st_size / 1e6, ", ".join(done.metadata["output"]["units"])
    print(
        f"{done.path}: {size:.1f} MB, {len(done.metadata['joints'])} joints in {units}\n"
        f"  at most {done.difference_mm:.2g} mm off the network on noise, at batches of "
        f"{', '.join(map(str, CHECKED_BATCHES))}"
    )
