"""What a report page shows. Whatever is None or empty is left out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from integral_pose.contracts import FloatArray
from integral_pose.evaluation.comparison import Comparison
from integral_pose.io.images import Picture
from integral_pose.report.curve_figures import loss_words
from integral_pose.skeleton import Skeleton


@dataclass(frozen=True)
class RunNotes:
    """What a run's folder holds beside its predictions."""

    name: str
    checkpoint: str
    config_yaml: str
    settings: Mapping[str, str]  # the same by dotted keys
    starts: Sequence[Mapping[str, Any]] = ()  # of provenance.json
    logged: Sequence[Mapping[str, Any]] = ()  # rows of metrics.jsonl
    mean_pose_mpjpe_mm: float | None = None  # of predicting the mean training pose, on the test set

    @property
    def loss_terms(self) -> dict[str, str]:
        """The loss terms as the rows have them -> what to call them."""
        return loss_words(*(self.settings.get(key, "") for key in ("loss.joints", "loss.heatmap.name")))


@dataclass(frozen=True)
class ShownImage:
    """A test image and the prediction of each of R runs; poses are (J, 3) root-relative mm in camera axes."""

    name: str
    predicted_mm: Sequence[FloatArray]  # one a run
    true_mm: FloatArray | None = None
    picture: Picture | None = None  # (S, S, 3)
    true_picture_px: FloatArray | None = None  # (J, 2) px of `picture`
    errors_mm: Sequence[float] = ()  # one a run: the MPJPE of this image


@dataclass(frozen=True)
class HeatmapMarginals:
    """Marginals of one joint's heat map in one image, of each run that has heat maps."""

    image_name: str
    joint: str
    pictures: Mapping[str, Picture]  # by the run's name


@dataclass(frozen=True)
class PageContent:
    """Everything on the page. The images are chosen by the errors of the first run."""

    runs: Sequence[RunNotes]
    num_images: int
    comparison: Comparison | None = None  # None: there are no labels
    worst: Sequence[ShownImage] = ()
    random: Sequence[ShownImage] = ()
    heatmaps: Sequence[HeatmapMarginals] = ()
    remarks: Sequence[str] = ()  # what is missing, and why
    skeleton: Skeleton = field(kw_only=True)
