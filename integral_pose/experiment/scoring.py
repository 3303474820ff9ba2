"""A network over a whole data set: predictions, and from these scores."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from integral_pose.config.schema import Config
from integral_pose.contracts import NetworkOutput, PoseBatch, Predictions, Scores
from integral_pose.data.course import PoseTable
from integral_pose.data.loader import EvaluationBatches, PoseImages
from integral_pose.data.pose_statistics import read_bone_length_mm, read_statistics
from integral_pose.errors import DataError
from integral_pose.evaluation.scores import score_predictions
from integral_pose.geometry.coordinates import ImageVolume, PoseSpace
from integral_pose.geometry.lifting import at_root_depth
from integral_pose.heatmaps.confidence import RADIUS_CELLS
from integral_pose.heatmaps.uncertain_output import deviation_of
from integral_pose.io.devices import choose_precision, explained_shortage
from integral_pose.io.distributed import Processes
from integral_pose.io.progress import ProgressDisplay
from integral_pose.io.skeleton_file import read_skeleton
from integral_pose.models.crop_changes import crop_changes
from integral_pose.models.predictor import CropNetwork, PlaceRoot, Predictor, keep_roots
from integral_pose.runs.stop import ScoringStopped, StopSignal
from integral_pose.skeleton import HUMAN36M, Skeleton
from integral_pose.weights.joint_adapter import ChosenJointsImageVolume
from integral_pose.weights.model_file import BONE_LENGTH_MM

MEAN_POSE = "mean_pose_mm"  # its key in what a checkpoint says of the data

# Takes this process's arrays and returns those of all processes, each joined along its first axis.
Gather = Callable[[list[NDArray]], list[NDArray]]


def predict(
    predictor: Predictor,
    model: nn.Module,
    loader: Iterable[PoseBatch],
    device: torch.device,
    *,
    confidence_radius_cells: float | None = None,
    sigma: bool = False,
    gather: Gather = list,
    disable_progress: bool = False,
) -> Predictions:
    """Poses of every sample the loader gives, sorted by row, each row once.

    `model`, the network of `predictor`, is in evaluation mode meanwhile; afterwards each of its modules has the mode
    it had. With `confidence_radius_cells` the predictions have the confidence of the unchanged crops, with `sigma` the
    standard deviations; DataError where the network makes no volumes, or does not predict them. In a run of several
    processes each loader gives its own share and `gather` joins them; rows that a sampler doubled to make the shares
    even are dropped.
    """
    num_joints = predictor.skeleton.num_joints
    found = {
        "indices": [torch.empty(0, dtype=torch.int64)],
        "joints_camera_mm": [torch.empty(0, num_joints, 3, device=device)],
    }
    if confidence_radius_cells is not None:
        found["confidence"] = [torch.empty(0, num_joints, 2, device=device)]
    if sigma:
        found["sigma_mm"] = [torch.empty(0, num_joints, device=device)]
    total = len(loader) if isinstance(loader, Sized) else None
    with (
        evaluation_mode(model),
        torch.inference_mode(),
        ProgressDisplay(total, "batches", "predicting", show=not disable_progress) as progress,
    ):
        for batch in loader:
            found["indices"].append(batch.indices)
            batch = batch.to(device)
            joints_mm, output = predictor(batch.images, batch.views)
            found["joints_camera_mm"].append(joints_mm.float())
            if confidence_radius_cells is not None:
                found["confidence"].append(_confidence(output, confidence_radius_cells))
            if sigma:
                found["sigma_mm"].append(predictor.network.space.deviation_mm(_deviation(output)).float())
            progress.add()
    # Off the device at the end only: a copy a batch would make it wait for each.
    arrays = gather([torch.cat(parts).cpu().numpy() for parts in found.values()])
    first = np.unique(arrays[0], return_index=True)[1]
    return Predictions(**{name: array[first] for name, array in zip(found, arrays, strict=True)})


def _confidence(output: NetworkOutput, radius_cells: float) -> torch.Tensor:
    found = output.confidence(radius_cells)
    if found is None:
        raise DataError(
            "confidence is read off volumetric heat maps, and this network predicts the joints without any; set "
            "evaluation.confidence to false"
        )
    return found


def _deviation(output: NetworkOutput) -> torch.Tensor:
    found = deviation_of(output)
    if found is None:
        raise DataError("this network does not predict how far off it is; train one with model.uncertainty")
    return found


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for the block; per module, since a trainer may keep some of them frozen in it."""
    modes = [(module, module.training) for module in model.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


class RootPlacement(NamedTuple):
    """How the roots' depths are set before poses are lifted."""

    place: PlaceRoot
    description: str | None  # None: nothing is lifted, the network predicts mm


def build_scorer(
    config: Config,
    table: PoseTable,
    device: torch.device,
    group: Processes,
    place_root: PlaceRoot = keep_roots,
    *,
    confidence: bool = False,
    sigma: bool = False,
    stop: StopSignal | None = None,
) -> Callable[[nn.Module], Predictions]:
    """model -> predictions of every row of `table`, shared among the processes.

    Raises ScoringStopped, in every process, where `stop` came up in any before its share was done.
    """
    batches = EvaluationBatches(
        PoseImages(table, config.data.stored_size, config.data.image_size, augmentation=None),
        config.evaluation.batch_size,
        workers=config.data.workers,
        rank=group.rank,
        world=group.world,
        pin_memory=device.type == "cuda",
        worker_timeout_s=config.data.worker_timeout_s,
        leave=lambda: bool(stop),
    )
    crops = crop_changes(config.evaluation.crops, scale_depth=config.data.augmentation.scale_depth)

    def gather(arrays: list[NDArray[Any]]) -> list[NDArray[Any]]:
        if any(group.gather(bool(stop))):
            raise ScoringStopped
        parts = group.gather(arrays)
        return [np.concatenate([part[i] for part in parts]) for i in range(len(arrays))]

    def predictions_of(model: nn.Module) -> Predictions:
        precision = choose_precision(config.evaluation.precision, device, model)
        with (
            torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32),
            explained_shortage(device, "evaluation.batch_size"),
        ):
            return predict(
                Predictor(cast(CropNetwork, model), config.evaluation.flip, crops, place_root, skeleton=table.skeleton),
                model,
                batches,
                device,
                confidence_radius_cells=RADIUS_CELLS if confidence else None,
                sigma=sigma,
                gather=gather,
                disable_progress=not group.is_first,
            )

    return predictions_of


def build_root_placement(config: Config, space: PoseSpace, skeleton: Skeleton) -> RootPlacement:
    """Where the roots' depths come from, by `evaluation.root_depth`."""
    if not isinstance(space, ImageVolume | ChosenJointsImageVolume):
        return RootPlacement(keep_roots, None)
    root_depth = config.evaluation.root_depth
    if root_depth == "labels":
        return RootPlacement(keep_roots, "root depth from the labels")
    if root_depth == "bone_length":
        learnt_mm = read_bone_length_mm(Path(config.data.root), skeleton)
        if learnt_mm is None and skeleton.names != HUMAN36M.names:
            raise DataError(
                f"evaluation.root_depth is bone_length, and there is no {config.data.root}/annot/train.h5 to take it "
                "from; give a number of mm"
            )
        length_mm = learnt_mm or BONE_LENGTH_MM
        source = "the mean of annot/train.h5" if learnt_mm else "of the packaged bodies, as there is no annot/train.h5"
        place = partial(space.at_bone_length, bones=skeleton.bones, total_bone_length_mm=length_mm)
        return RootPlacement(place, f"root depth by bone length, {length_mm:,.0f} mm in all ({source})")
    depth_mm = root_depth
    return RootPlacement(lambda joints, views: at_root_depth(views, depth_mm), f"root depth {depth_mm:g} mm, as given")


def check_can_lift(config: Config, table: PoseTable) -> None:
    """Raise DataError where poses in mm need more than the data set says of its crops."""
    if config.model.volume != "image":
        return
    if table.views is None:
        raise DataError(
            f"model.volume image: poses in mm need the camera, the crop's place and the root's depth, and the .h5 of "
            f"these images in {config.data.root}/annot lacks some of 'camera', 'crop_to_image', 'root_camera_mm'. "
            "Write it with integral-pose prepare; training alone does without (data.val_subjects=[])"
        )
    if config.evaluation.root_depth == "labels" and not table.views.has_roots:
        raise DataError(
            f"evaluation.root_depth is labels, but {config.data.root}/annot/valid.h5 has no 'root_camera_mm'; say how "
            "far away people are with evaluation.root_depth=bone_length or a number of mm"
        )


def score(table: PoseTable, predictions: Predictions) -> Scores:
    """Against the labels of the table."""
    names = [table.name(row) for row in range(len(table))]
    return score_predictions(predictions, table.joints_camera_mm, names, table.skeleton, sequences=table.sequences)


def mean_pose_scores(root: Path, table: PoseTable, joint_order: str = "auto") -> Scores:
    """Scores of predicting the mean training pose of `root`: what a model must beat to have learnt anything."""
    return constant_pose_scores(read_statistics(root, joint_order=joint_order).mean_mm, table)


def constant_pose_scores(pose_mm: NDArray[np.float32], table: PoseTable) -> Scores:
    """Scores of predicting one pose (J, 3) for every image."""
    poses_mm = np.broadcast_to(pose_mm, table.joints_camera_mm.shape)
    return score(table, Predictions(np.arange(len(table)), poses_mm))


def find_mean_pose(
    content: Mapping[str, Any], learnt: Skeleton, root: Path, joint_order: str, skeleton: Skeleton
) -> tuple[NDArray[np.float32], str] | None:
    """(J, 3) mm of `skeleton`'s joints, and whose pose it is.

    Of the data that a checkpoint's run has learnt from, of `learnt` joints; else of `root`, if there is any there.
    """
    kept = content.get("data", {}).get(MEAN_POSE)
    if kept is not None:
        pose_mm, own, words = np.array(kept, np.float32), learnt, "mean training pose"
    elif any((root / "annot" / name).exists() for name in ("train.h5", "mean.txt", "std.txt")):
        pose_mm, own = read_statistics(root, joint_order=joint_order).mean_mm, read_skeleton(root / "annot")
        words = f"mean pose of {root}"
    else:
        return None
    return pose_mm[[own.names.index(name) for name in skeleton.names]], words
