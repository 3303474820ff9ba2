"""`integral-pose import-weights | export`."""

import argparse
from typing import Any

from integral_pose.cli.arguments import add_command, file_path, require_other_file
from integral_pose.errors import ConfigError

SOURCES = ("posenet", "mks-integral", "integral", "integral-challenge", "epipolar")


def add_model_commands(commands: Any) -> None:
    """Other projects' weights in, networks for other programs out."""
    importer = add_command(commands, "import-weights", "weights of another project -> a model file", _import)
    importer.add_argument("source", choices=SOURCES, metavar="SOURCE", help=f"the project: {' | '.join(SOURCES)}")
    importer.add_argument(
        "checkpoint", type=file_path, metavar="CHECKPOINT", help="its file, for example snapshot.pth.tar"
    )
    importer.add_argument("--out", type=file_path, required=True, metavar="MODEL.pt", help="the model file to write")

    exporter = add_command(
        commands, "export", "a trained network -> ONNX, a torch.export archive, a model file to pass on", _export
    )
    exporter.add_argument("model", type=file_path, metavar="MODEL", help="a run folder, checkpoint or model file")
    exporter.add_argument("--format", choices=("onnx", "torch", "model"), default="onnx",
                          help="(%(default)s); model: a model file with recipe and errors")  # fmt: skip
    exporter.add_argument("--out", type=file_path, required=True, metavar="FILE", help="the file to write")
    exporter.add_argument("--licence", metavar="TEXT", help="of --format model: under which it is passed on")
    exporter.add_argument("--real-pictures", type=file_path, metavar="JSON",
                          help="of --format model (MODEL/real_pictures/real_pictures.json)")  # fmt: skip


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
    require_other_file("--out", options.out, options.model, *options.model.glob("*.pt"))
    if options.format == "model":
        _release(options)
        return
    for name in ("licence", "real_pictures"):
        if getattr(options, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} is for --format model; leave it out")
    from integral_pose.weights.exporting import CHECKED_BATCHES, export

    done = export(options.model, options.format, options.out)
    size, units = done.path.stat().st_size / 1e6, ", ".join(done.metadata["output"]["units"])
    print(
        f"{done.path}: {size:.1f} MB, {len(done.metadata['joints'])} joints in {units}\n"
        f"  at most {done.difference_mm:.2g} mm off the network on noise, at batches of "
        f"{', '.join(map(str, CHECKED_BATCHES))}"
    )


def _release(options: argparse.Namespace) -> None:
    from integral_pose.experiment.model_release import release_model

    card = release_model(options.model, options.out, options.licence or "", options.real_pictures)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB in half precision\n  {card.summary()}")
