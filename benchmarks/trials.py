"""What was tried for a better recipe: one change at a time, scored on a training subject that is held out.

The test subjects are not looked at until the winner is chosen.
"""

from __future__ import annotations

from benchmarks.approaches import FOLDER, PUBLISHED, REFERENCE
from benchmarks.benchmark import Candidate

HELD_OUT = ("data.val_subjects=[S8]",)
NO_CHANGE = "translate_percent: [0.0, 0.0], scale: [1.0, 1.0], hue_saturation: [0, 0], contrast: [1.0, 1.0]"


def trial(name: str, title: str, *changes: str, of: str = REFERENCE) -> Candidate:
    """A change to the work of a step: its cost is measured."""
    return Candidate(name, title, str(FOLDER / f"{of}.yaml"), changes, against=of)


def same_cost(name: str, title: str, *changes: str, of: str = REFERENCE, costs_as: str | None = None) -> Candidate:
    """A change that leaves a step as much work as before, or as another trial, whose rate it takes."""
    return Candidate(name, title, str(FOLDER / f"{of}.yaml"), changes, against=of, costs_as=costs_as or of)


def learning_rates(first: str, second: str) -> tuple[str, str]:
    """Of the two stages."""
    return f"stages.0.learning_rate={first}", f"stages.1.learning_rate={second}"


def heatmap_weights(weight: str) -> tuple[str, str]:
    """The same in both stages."""
    return f"stages.0.weights.heatmap={weight}", f"stages.1.weights.heatmap={weight}"


# From the published recipe towards ours, then from ours.
TRIALS = (
    trial(PUBLISHED, "the published recipe", of=PUBLISHED),
    trial("published-no-augmentation", "no augmentation", "data.augmentation={backend: none}", of=PUBLISHED),
    same_cost("published-head-std", "head's std 0.02 instead of 0.001", "model.head_init_std=0.02", of=PUBLISHED),
    trial("published-bf16", "bf16, channels last", "trainer.precision=auto", "trainer.channels_last=true",
          of=PUBLISHED),
    same_cost("published-adamw", "AdamW 2e-3, warm-up, cosine, clipping", "optimizer={name: adamw, weight_decay: 0.01}",
              "stages=[{epochs: 25, learning_rate: 2e-3, schedule: cosine, warmup_steps: 20, final_fraction: 0.05}]",
              "trainer.clip_gradient=1.0", of=PUBLISHED),
    trial(REFERENCE, "our recipe, integral"),
    same_cost("rate-1e-3", "learning rate 1e-3 instead of 2e-3", *learning_rates("1e-3", "5e-5")),
    same_cost("rate-4e-3", "learning rate 4e-3", *learning_rates("4e-3", "2e-4")),
    trial("batch-16", "batch 16 instead of 32", "trainer.batch_size=16"),
    trial("batch-64", "batch 64", "trainer.batch_size=64"),
    trial("size-32", "32 px, 8 x 8 x 16 cells instead of 64 px, 16^3", "data.image_size=[32,32]"),
    trial("size-96", "96 px, 24 x 24 x 16 cells", "data.image_size=[96,96]"),
    trial("volume-8", "8 x 8 x 16 cells", "model.deconv_channels=[128,128]"),
    trial("depth-32", "16 x 16 x 32 cells", "model.volume_depth=32"),
    trial("deconv-64", "deconvolutions of 64 channels instead of 128", "model.deconv_channels=[64,64,64]"),
    trial("heatmap-1e-3", "heat map loss of weight 1e-3 from the start", *heatmap_weights("1e-3")),
    same_cost("heatmap-1e-2", "heat map loss of weight 1e-2 from the start",
              *heatmap_weights("1e-2"), costs_as="heatmap-1e-3"),
    same_cost("heatmap-late", "heat map loss of weight 1e-2 in the last 8 %", "stages.1.weights.heatmap=1e-2"),
    same_cost("heatmap-1e-1", "heat map loss of weight 1e-1 from the start",
              *heatmap_weights("1e-1"), costs_as="heatmap-1e-3"),
    trial("ema", "moving average of the weights, 0.99", "trainer.ema_decay=0.99"),
    same_cost("flip-test", "flip test", "evaluation.flip=true"),
    trial("flip", "half of the pictures mirrored",
          f"data.augmentation={{backend: device, {NO_CHANGE}, brightness: [1.0, 1.0], flip: 0.5}}"),
    same_cost("head-std-0.001", "head's std 0.001 instead of 0.02", "model.head_init_std=0.001"),
    same_cost("head-std-0.1", "head's std 0.1", "model.head_init_std=0.1"),
    same_cost("smooth-l1", "smooth L1 instead of L1", "loss.joints=smooth_l1"),
    same_cost("euclidean", "Euclidean distance instead of L1", "loss.joints=euclidean"),
    same_cost("no-clip", "no clipping of the gradient", "trainer.clip_gradient=null"),
    same_cost("no-decay", "no weight decay", "optimizer.weight_decay=0.0"),
    same_cost("two", "heat map loss of weight 1e-2 and learning rate 1e-3",
              *heatmap_weights("1e-2"), *learning_rates("1e-3", "5e-5"), costs_as="heatmap-1e-3"),
    same_cost("three", "the same two, head's std 0.1",
              *heatmap_weights("1e-2"), *learning_rates("1e-3", "5e-5"), "model.head_init_std=0.1",
              costs_as="heatmap-1e-3"),
    same_cost("loss-1000", "the loss times 1000, not clipped: the same in theory, so a measure of chance",
              "stages.0.weights.integral=1000", "stages.1.weights.integral=1000", "trainer.clip_gradient=null"),
    trial("axes", "one line of cells an axis instead of a volume", "model.head=axes", "model.deconv_channels=[]"),
    trial("image-volume", "image volume instead of metric", "model.volume=image"),
    trial("volume-4", "4 x 4 x 16 cells", "model.deconv_channels=[128]"),
    same_cost("volume-8-rate", "8 x 8 x 16 cells, learning rate 4e-3",
              "model.deconv_channels=[128,128]", *learning_rates("4e-3", "2e-4"), costs_as="volume-8"),
    trial("volume-8-both", "8 x 8 x 16 cells, learning rate 4e-3, batch 64", "model.deconv_channels=[128,128]",
          *learning_rates("4e-3", "2e-4"), "trainer.batch_size=64"),
    same_cost("volume-8-euclidean", "8 x 8 x 16 cells, Euclidean distance",
              "model.deconv_channels=[128,128]", "loss.joints=euclidean", costs_as="volume-8"),
    trial("coarse", "the recipe with 8 x 8 x 16 cells and Euclidean distance", of="coarse"),
    trial("linear-terms", "with linear axis terms", "model.axis_terms=linear", of="coarse"),
    trial("gaussian-terms", "with Gaussian axis terms", "model.axis_terms=gaussian", of="coarse"),
    same_cost("sgd", "SGD, 0.1, momentum 0.9", "optimizer={name: sgd, momentum: 0.9}", *learning_rates("0.1", "0.005")),
)  # fmt: skip
