"""A trained network over a test set: predictions, scores, the files that hold them."""

from dataclasses import dataclass
from pathlib import Path

import torch

from integral_pose.config.schema import Config
from integral_pose.contracts import Scores
from integral_pose.data.course import PoseTable, read_test
from integral_pose.data.joints_in_crop import require_inside_crop
from integral_pose.errors import ConfigError
from integral_pose.evaluation.predictions_csv import write_confidence_csv, write_predictions_csv, write_sigma_csv
from integral_pose.evaluation.scores_json import write_scores_json
from integral_pose.experiment.prediction_record import is_of_folder, read_record, write_record
from integral_pose.experiment.result_files import result_files
from integral_pose.experiment.scoring import (
    build_root_placement,
    build_scorer,
    check_can_lift,
    constant_pose_scores,
    find_mean_pose,
    score,
)
from integral_pose.io.arithmetic import arithmetic
from integral_pose.io.devices import choose_device
from integral_pose.io.distributed import Processes
from integral_pose.io.notices import notify
from integral_pose.io.skeleton_file import read_skeleton
from integral_pose.models.pose_net import PoseNet
from integral_pose.runs.checkpoint import find_checkpoint, newest_run
from integral_pose.skeleton import Skeleton
from integral_pose.weights.joint_adapter import (
    ChosenJointsNetwork,
    build_network_for_joints,
    crop_notice,
    joints_in_common,
)
from integral_pose.weights.stored_network import StoredNetwork, configuration_of, read_network


@dataclass(frozen=True)
class TestResult:
    """What `test` wrote, and the scores where the test set has labels."""

    checkpoint: Path
    predictions_csv: Path
    truth: Path
    scores: Scores | None
    mean_pose: Scores | None  # of predicting one pose for every image; None where none is known
    weights: str = ""  # which of the checkpoint's, in words
    lifting: str | None = None  # where the root's depth came from; None: the network says mm
    confidence_csv: Path | None = None
    sigma_csv: Path | None = None
    scores_json: Path | None = None
    joint_order: str = "auto"  # of the labels, as the configuration has it
    num_images: int = 0
    mean_pose_name: str = ""  # whose mean that pose is
    has_some_joints: bool = False  # of the test set, as its network predicts no others


def test(path: Path | None, overrides: list[str], out: Path | None = None) -> TestResult:  # noqa: PT028
    """Predict the test set with a checkpoint (None: the newest run's best) and write the CSV beside it or into `out`.

    The configuration is the checkpoint's own, changed by `overrides`. With labels, scores.json too; `result_files`
    says how the files are called.
    """
    checkpoint = find_checkpoint(path or newest_run())
    stored = read_network(checkpoint)
    config = configuration_of(stored, overrides)
    device = choose_device(config.trainer.device)
    root = Path(config.data.root)
    table = _read_table(config, stored)
    model, weights = _build_for_test(stored, config, table.skeleton)
    place_root, lifting = build_root_placement(config, model.space, table.skeleton)
    if model.space.needs_views:
        check_can_lift(config, table)
    predictions_of = build_scorer(
        config,
        table,
        device,
        Processes(),
        place_root,
        confidence=config.evaluation.confidence,
        sigma=config.model.uncertainty != "none",
    )
    with arithmetic():
        predictions = predictions_of(model.to(device).to(memory_format=torch.channels_last))
    files = result_files(checkpoint, _own_root(stored), root, out)
    csv, record = files.path("predictions.csv"), files.path("predictions.json")
    if (before := read_record(record)) and not is_of_folder(before, root):
        notify(f"{csv}: the predictions of {before.get('data_root')} are replaced; --out FOLDER keeps both")
    record.unlink(missing_ok=True)  # what it says is not true until everything is written
    write_predictions_csv(csv, predictions.joints_camera_mm, table.skeleton)
    confidence_csv = sigma_csv = scores_json = scores = mean_pose = None
    mean_pose_name = ""
    if predictions.confidence is not None:
        confidence_csv = files.path("confidence.csv")
        order = model.order if isinstance(model, ChosenJointsNetwork) else slice(None)
        write_confidence_csv(confidence_csv, predictions.confidence[:, order], table.skeleton)
    if predictions.sigma_mm is not None:
        sigma_csv = files.path("sigma.csv")
        write_sigma_csv(sigma_csv, predictions.sigma_mm, table.skeleton)
    if table.has_labels:
        scores_json = files.path("scores.json")
        scores, learnt = score(table, predictions), stored.description.skeleton
        found = find_mean_pose(stored.content, learnt, root, config.data.joint_order, table.skeleton)
        mean_pose = None if found is None else constant_pose_scores(found[0], table)
        mean_pose_name = "" if found is None else found[1]
        write_scores_json(scores_json, scores, {
            "mean_pose_mpjpe_mm": mean_pose and mean_pose.mpjpe_mm,
            "checkpoint": str(checkpoint), "data_root": config.data.root,
            "weights": weights, "lifting": lifting, "flip": config.evaluation.flip, "crops": config.evaluation.crops,
        })  # fmt: skip
    made_with = {"weights": weights, "flip": config.evaluation.flip, "crops": config.evaluation.crops}
    write_record(record, checkpoint, root, table, {**made_with, "is_scored": table.has_labels})
    return TestResult(checkpoint, csv, root / "annot" / "valid.h5", scores, mean_pose, weights, lifting,
                      confidence_csv, sigma_csv, scores_json, config.data.joint_order, len(table),
                      mean_pose_name, table.skeleton != read_skeleton(root / "annot"))  # fmt: skip


def _read_table(config: Config, stored: StoredNetwork) -> PoseTable:
    """The test set, of the joints that the network has; what speaks against these or its crops is said or raised."""
    root, stored_px = Path(config.data.root), config.data.stored_size
    table = read_test(root, config.data.joint_order, config.data.label_axes)
    common = joints_in_common(stored.description.skeleton, table.skeleton, stored.source)
    if common.num_joints < table.skeleton.num_joints:
        left_out = ", ".join(name for name in table.skeleton.names if name not in common.names)
        notify(f"{root}: tested on {common.num_joints} joints; {stored.source} does not predict {left_out}")
        table = table.of_joints(common)
    require_inside_crop(table, stored_px, root)
    is_model_file = stored.config_yaml is None  # of a run, the crops that it has learnt from are not known
    if is_model_file and table.has_labels:
        notice = crop_notice(stored.description, table.joints_crop_px, stored_px)
        if notice:
            notify(f"{root}: {notice}")
    return table


def test_several(
    paths: list[Path],
    overrides: list[str],
    out: Path | None = None,  # noqa: PT028
) -> list[TestResult]:
    """`test` on each, in `out` in a folder for each run. ConfigError first where two would write the same file."""
    folders = [None if out is None else out / find_checkpoint(path).resolve().parent.name for path in paths]
    written: dict[Path, Path] = {}
    for path, folder in zip(paths, folders, strict=True):
        checkpoint = find_checkpoint(path).resolve()
        csv = result_files(checkpoint, checkpoint.parent, checkpoint.parent, folder).path("predictions.csv")
        if csv in written:
            raise ConfigError(
                f"{written[csv]} and {path} would write one {csv}; leave one of them out, or copy it elsewhere"
            )
        written[csv] = path
    return [test(path, overrides, folder) for path, folder in zip(paths, folders, strict=True)]


def _own_root(stored: StoredNetwork) -> Path | None:
    """The data set of a run's configuration; a model file has none."""
    return None if stored.config_yaml is None else Path(configuration_of(stored, []).data.root)


def _build_for_test(
    stored: StoredNetwork, config: Config, skeleton: Skeleton
) -> tuple[PoseNet | ChosenJointsNetwork, str]:
    """The network of a checkpoint for the joints of `skeleton`, and which weights these are, in words."""
    wanted = config.evaluation.weights
    model = build_network_for_joints(stored, skeleton, config.data.image_size, wanted, config.model.decoder)
    if stored.config_yaml is None:
        return model, "those of the model file"
    return model, wanted if config.trainer.ema_decay > 0 else "as trained, without an average"
