"""What may differ between two starts of one run: every key of the configuration has a class.

FREE does not change the weights. ASKED_FOR changes what is learnt from here on, which is sometimes wanted and never by
accident, so it takes --allow-change. FORBIDDEN would make another experiment of it, and says why.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate, zip_longest
from typing import Any, Literal, NamedTuple

from integral_pose.config.augmentation_section import AugmentationConfig

Kind = Literal["free", "asked for", "forbidden"]

FREE = {
    "data.label_axes", "run_dir", "data.root", "data.sources.*.root", "data.workers", "data.worker_timeout_s",
    "trainer.device", "trainer.max_steps",
    "trainer.max_time", "trainer.checkpoint_every", "trainer.keep_checkpoints", "trainer.log_every", "trainer.compile",
    "trainer.pictures_every", "trainer.deterministic", "trainer.process_timeout_s", "evaluation.batch_size",
    "evaluation.weights", "evaluation.confidence",
}  # fmt: skip

ASKED_FOR = {
    "data.joint_order", "data.on_bad_image", *(f"data.augmentation.{key}" for key in AugmentationConfig.model_fields),
    "data.sources.*.weight",
    "loss.joints", "loss.heatmap.target", "loss.heatmap.peak", "loss.heatmap.radius", "loss.heatmap.reduction",
    "loss.heatmap.name", "loss.heatmap.sigma_cells", "loss.sampled", "loss.variance_sigma_cells",
    # of stages that are not over; a stage as a whole may be added or taken away
    "stages.*", "stages.*.epochs", "stages.*.weights.integral", "stages.*.weights.heatmap", "stages.*.weights.variance",
    "stages.*.learning_rate", "stages.*.schedule", "stages.*.warmup_steps", "stages.*.drop_epochs",
    "stages.*.drop_factor", "stages.*.final_fraction",
    "optimizer.weight_decay", "optimizer.momentum", "optimizer.backbone_factor", "optimizer.head_factor",
    "trainer.accumulation_steps", "trainer.precision", "trainer.channels_last", "trainer.sync_batch_norm",
    "trainer.compress_gradients", "trainer.clip_gradient", "trainer.ema_decay",
    "evaluation.every", "evaluation.precision",
}  # fmt: skip

FORBIDDEN = {
    "seed": "it orders the samples, of which some would be seen twice in an epoch and others not at all",
    "data.val_subjects": "people that were learnt from would be held out",
    "data.val_limit": "best.pt is chosen by scores that must be comparable",
    "data.epoch_images": "the samples would be in another order, some seen twice in a pass and others not at all",
    "data.stored_size": "the images would be other ones",
    **dict.fromkeys((
        "data.sources.*", "data.sources.*.images",
    ), "the samples of a batch would be other ones"),
    "optimizer.name": "its state is of another kind",
    "trainer.batch_size": "steps are counted in batches of this size; it is that of all processes together, so for "
                          "another number of them keep it, and for less memory raise trainer.accumulation_steps",
    "model.freeze": "the optimiser's state is of other weights; to train more or less of the network, start a new run "
                    "with model.init",
    **dict.fromkeys((
        "model.backbone", "model.backbone_stride", "model.head", "model.uncertainty", "model.axis_terms",
        "model.cells_per_feature", "model.num_joints", "model.deconv_channels", "model.volume_depth",
    ), "the weights would have other shapes"),
    **dict.fromkeys((
        "data.image_size", "model.decoder", "model.volume", "model.extent_mm", "model.depth_extent_mm",
    ), "the weights would mean other places"),
    **dict.fromkeys((
        "model.pretrained", "model.head_init_std", "model.head_prior", "model.init",
    ), "it is what the first step began from"),
    **dict.fromkeys((
        "evaluation.flip", "evaluation.crops", "evaluation.root_depth",
    ), "best.pt is chosen by scores that must be comparable; `test` takes it as an override"),
}  # fmt: skip


class Change(NamedTuple):
    """A key whose value is another than when the checkpoint was written; None: it was or is not there."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.old!r} there, {self.new!r} now"


class Position(NamedTuple):
    """How far the run is: whole epochs, and batches of the one that was begun."""

    epoch: int
    batch: int


def find_changes(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """Differences of two configurations as plain dicts."""
    return list(_differences(old, new, ""))


def kind_of(key: str) -> Kind:
    """The class of a key. Raises KeyError for one that has none."""
    pattern = _pattern(key)
    if pattern in FREE:
        return "free"
    if pattern in ASKED_FOR:
        return "asked for"
    if pattern in FORBIDDEN:
        return "forbidden"
    raise KeyError(key)


def _pattern(key: str) -> str:
    """A key as the classes above have it."""
    return re.sub(r"^(stages|data\.sources)\.\d+", r"\1.*", key)


def why_forbidden(change: Change, old: dict[str, Any], new: dict[str, Any], position: Position) -> str | None:
    """The reason why a run that stands at `position` cannot continue with this change; None where it can."""
    if _pattern(change.key) in FORBIDDEN:
        return FORBIDDEN[_pattern(change.key)]
    if match := re.match(r"stages\.(\d+)", change.key):
        return _why_stage_is_fixed(int(match[1]), _epochs(old), _epochs(new), position)
    return None


def _why_stage_is_fixed(
    stage: int, old_epochs: Sequence[int], new_epochs: Sequence[int], position: Position
) -> str | None:
    begun = position.epoch + (position.batch > 0)  # epochs, the one under way included
    if begun == 0:
        return None
    current = next(i for i, end in enumerate(accumulate(old_epochs)) if end >= begun)
    if stage < current:
        return "this stage is over"
    if stage > current:
        return None
    done = begun - sum(old_epochs[:stage])
    if stage >= len(new_epochs) or new_epochs[stage] < done:
        return f"of this stage {done} epochs are trained or under way"
    return None


def _epochs(config: dict[str, Any]) -> list[int]:
    return [stage["epochs"] for stage in config["stages"]]


def _differences(old: Any, new: Any, key: str) -> Iterator[Change]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys([*old, *new]):
            yield from _differences(old.get(name), new.get(name), f"{key}.{name}" if key else name)
    elif key in ("stages", "data.sources") and isinstance(old, list) and isinstance(new, list):
        for i, (stage, other) in enumerate(zip_longest(old, new)):
            yield from _differences(stage, other, f"{key}.{i}")
    elif old != new:
        yield Change(key, old, new)
