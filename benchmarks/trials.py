"""What was tried for a better recipe: one change at a time, scored on a training subject that is held out.

The test subjects are not looked at until the winner is chosen.
"""

from __future__ import annotations

from benchmarks.approaches import FOLDER, PUBLISHED, REFERENCE
from benchmarks.benchmark import Candidate

HELD_OUT = ("data.val_subjects=[S8]",)
NO_CHANGE = "translate_percent: [0.0, 0.0], scale: [1.0, 1.0], hue_saturation: [0, 0], contrast: [1.0, 1.0]"


def _trial(name: str, title: str, *changes: str, of: str = REFERENCE) -> Candidate:
    """A change to the work of a step: its cost is measured."""
    return Candidate(name, title, str(FOLDER / f"{of}.yaml"), changes, against=of)


def _as_dear(name: str, title: str, *changes: str, of: str = REFERENCE, costs_as: str | None = None) -> Candidate:
    """A change that leaves a step as much work as before, or as another trial, whose rate it takes."""
    return Candidate(name, title, str(FOLDER / f"{of}.yaml"), changes, against=of, costs_as=costs_as or of)


def _rate(first: str, second: str) -> tuple[str, str]:
    return f"stages.0.learning_rate={first}", f"stages.1.learning_rate={second}"


def _heatmap(weight: str) -> tuple[str, str]:
    return f"stages.0.weights.heatmap={weight}", f"stages.1.weights.heatmap={weight}"


# From the published recipe towards ours, then from ours.
TRIALS = (
    _trial(PUBLISHED, "the published recipe", of=PUBLISHED),
    _trial("published-no-augmentation", "no augmentation", "data.augmentation={backend: none}", of=PUBLISHED),
    _as_dear("published-head-std", "head's std 0.02 instead of 0.001", "model.head_init_std=0.02", of=PUBLISHED),
    _trial("published-bf16", "bf16, channels last", "trainer.precision=auto", "trainer.channels_last=true",
           of=PUBLISHED),
    _as_dear("published-adamw", "AdamW 2e-3, warm-up, cosine, clipping", "optimizer={name: adamw, weight_decay: 0.01}",
           "stages=[{epochs: 25, learning_rate: 2e-3, schedule: cosine, warmup_steps: 20, final_fraction: 0.05}]",
           "trainer.clip_gradient=1.0", of=PUBLISHED),
    _trial(REFERENCE, "our recipe, integral"),
    _as_dear("rate-1e-3", "learning rate 1e-3 instead of 2e-3", *_rate("1e-3", "5e-5")),
    _as_dear("rate-4e-3", "learning rate 4e-3", *_rate("4e-3", "2e-4")),
    _trial("batch-16", "batch 16 instead of 32", "trainer.batch_size=16"),
    _trial("batch-64", "batch 64", "trainer.batch_size=64"),
    _trial("size-32", "32 px, 8 x 8 x 16 cells instead of 64 px, 16^3", "data.image_size=[32,32]"),
    _trial("size-96", "96 px, 24 x 24 x 16 cells", "data.image_size=[96,96]"),
    _trial("volume-8", "8 x 8 x 16 cells", "model.deconv_channels=[128,128]"),
    _trial("depth-32", "16 x 16 x 32 cells", "model.volume_depth=32"),
    _trial("deconv-64", "deconvolutions of 64 channels instead of 128", "model.deconv_channels=[64,64,64]"),
    _trial("heatmap-1e-3", "heat map loss of weight 1e-3 from the start", *_heatmap("1e-3")),
    _as_dear("heatmap-1e-2", "heat map loss of weight 1e-2 from the start",
             *_heatmap("1e-2"), costs_as="heatmap-1e-3"),
    _as_dear("heatmap-late", "heat map loss of weight 1e-2 in the last 8 %", "stages.1.weights.heatmap=1e-2"),
    _as_dear("heatmap-1e-1", "heat map loss of weight 1e-1 from the start",
             *_heatmap("1e-1"), costs_as="heatmap-1e-3"),
    _trial("ema", "moving average of the weights, 0.99", "trainer.ema_decay=0.99"),
    _as_dear("flip-test", "flip test", "evaluation.flip=true"),
    _trial("flip", "half of the pictures mirrored",
           f"data.augmentation={{backend: device, {NO_CHANGE}, brightness: [1.0, 1.0], flip: 0.5}}"),
    _as_dear("head-std-0.001", "head's std 0.001 instead of 0.02", "model.head_init_std=0.001"),
    _as_dear("head-std-0.1", "head's std 0.1", "model.head_init_std=0.1"),
    _as_dear("smooth-l1", "smooth L1 instead of L1", "loss.joints=smooth_l1"),
    _as_dear("euclidean", "Euclidean distance instead of L1", "loss.joints=euclidean"),
    _as_dear("no-clip", "no clipping of the gradient", "trainer.clip_gradient=null"),
    _as_dear("no-decay", "no weight decay", "optimizer.weight_decay=0.0"),
    _as_dear("two", "heat map loss of weight 1e-2 and learning rate 1e-3",
             *_heatmap("1e-2"), *_rate("1e-3", "5e-5"), costs_as="heatmap-1e-3"),
    _as_dear("three", "the same two, head's std 0.1",
             *_heatmap("1e-2"), *_rate("1e-3", "5e-5"), "model.head_init_std=0.1", costs_as="heatmap-1e-3"),
    _as_dear("loss-1000", "the loss times 1000, not clipped: the same in theory, so a measure of chance",
             "stages.0.weights.integral=1000", "stages.1.weights.integral=1000", "trainer.clip_gradient=null"),
    _trial("axes", "one line of cells an axis instead of a volume", "model.head=axes", "model.deconv_channels=[]"),
    _trial("image-volume", "image volume instead of metric", "model.volume=image"),
    _trial("volume-4", "4 x 4 x 16 cells", "model.deconv_channels=[128]"),
    _as_dear("volume-8-rate", "8 x 8 x 16 cells, learning rate 4e-3",
             "model.deconv_channels=[128,128]", *_rate("4e-3", "2e-4"), costs_as="volume-8"),
    _trial("volume-8-both", "8 x 8 x 16 cells, learning rate 4e-3, batch 64", "model.deconv_channels=[128,128]",
           *_rate("4e-3", "2e-4"), "trainer.batch_size=64"),
    _as_dear("volume-8-euclidean", "8 x 8 x 16 cells, Euclidean distance",
             "model.deconv_channels=[128,128]", "loss.joints=euclidean", costs_as="volume-8"),
    _as_dear("sgd", "SGD, 0.1, momentum 0.9", "optimizer={name: sgd, momentum: 0.9}", *_rate("0.1", "0.005")),
)  # fmt: skip
