"""What `ablation` compares and in which sizes: names, files and changes, no work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("configs/benchmark")
EPOCHS = 25  # of every approach, whatever the budget: as in the source report
REFERENCE = "integral"  # what differences are against, and whose step the others' are timed with
PUBLISHED = "published"
BEST = "best"  # the winner of the trials, which is shipped

RECIPE = frozenset({
    "data.augmentation", "model.head_init_std", "stages", "optimizer", "trainer.channels_last", "trainer.clip_gradient",
    "trainer.precision",
})  # fmt: skip


@dataclass(frozen=True)
class Approach:
    """A row of the table: a file of FOLDER, and in which keys it may differ from another."""

    name: str
    title: str
    differs_in: frozenset[str]  # dotted keys, or sections as a whole
    differs_from: str = REFERENCE
    costs_as: str | None = None  # the approach whose rate it takes, so that they share the steps they have in common
    large: tuple[str, ...] = ()  # its own deconvolutions at the large size

    @property
    def config(self) -> str:
        """Path of its file, from the root of the repository."""
        return str((FOLDER.parent if self.name == BEST else FOLDER) / f"{self.name}.yaml")


@dataclass(frozen=True)
class Size:
    """A benchmark: a named set of pictures, and what makes the files fit it."""

    name: str
    overrides: tuple[str, ...]
    minutes: float  # of training, each approach and seed
    preset: str = "synthetic-2"

    @property
    def flags(self) -> str:
        """What chooses it on the command line."""
        return " --small" if self is SIZES["small"] else ""


TWO = ("model.deconv_channels=[256,256]",)
APPROACHES = (
    Approach("regression", "direct regression", frozenset({"model.head"})),
    Approach("integral", "integral", frozenset()),
    Approach("integral_then_heatmap", "integral, then integral + heat map (92 %, 8 %)", frozenset({"stages.weights"}),
             costs_as=REFERENCE),
    Approach("integral_and_heatmap", "integral + heat map from the start", frozenset({"stages.weights"})),
    Approach("one_hot", "the same, one-hot instead of Gaussian", frozenset({"loss.heatmap.target"}),
             "integral_and_heatmap"),
    Approach("heatmap_only", "heat map only", frozenset({"stages.weights"})),
    Approach("image_volume", "integral, image volume instead of metric", frozenset({"model.volume"})),
    Approach("metro", "integral, features of stride 16 without deconvolutions (as MeTRo)",
             frozenset({"model.deconv_channels", "model.backbone_stride"}), large=("model.deconv_channels=[]",)),
    Approach("euclidean", "integral, Euclidean distance instead of L1", frozenset({"loss.joints"}), costs_as=REFERENCE),
    Approach("axis_terms", "the same with Gaussian axis terms", frozenset({"model.axis_terms"}), "euclidean"),
    Approach("coarse", "integral, Euclidean distance, two deconvolutions instead of three",
             frozenset({"model.deconv_channels"}), "euclidean", large=TWO),
    Approach("image_heatmap", "the same in the image volume, heat map loss of falling weight",
             frozenset({"model.volume", "stages"}), "coarse", large=TWO),
    Approach(PUBLISHED, "the published recipe, integral", RECIPE),
    Approach(BEST, "two deconvolutions, Euclidean distance, Gaussian axis terms (best.yaml)",
             frozenset({"model.axis_terms"}), "coarse", large=TWO),
    Approach("pretrained", "integral, backbone from ImageNet", frozenset({"model.pretrained"})),
)  # fmt: skip

SIZES = {
    "small": Size("synthetic-2-64px", (), 2.0),
    "large": Size("synthetic-2-256px", (
        "data.image_size=[256,256]", "data.workers=8", "model.backbone=resnet50",
        "model.deconv_channels=[256,256,256]", "model.volume_depth=64", "evaluation.batch_size=64",
        "trainer.checkpoint_every=1000",
    ), 30.0),
}  # fmt: skip
