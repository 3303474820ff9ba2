"""What a data set is, in a few words that fit into a checkpoint, and how another one differs from it.

Neither the folder's place nor its layout is part of it: a set that was moved, copied or packed is still the same.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from integral_pose.data.course import PoseTable

SIZES = 1000  # so many images, spread over the list, are looked at for their size in bytes

Fingerprint = dict[str, Any]

# In the order in which they explain each other: other images have other labels.
WORDS = {
    "images": "{:,} images there, {:,} now",
    "names": "as many images, but other names in the list",
    "order": "the same images, listed in another order now",
    "joints": "joints of other names or in another order",
    "pose2d": "other labels in px ('pose2d')",
    "pose3d": "other labels in mm ('pose3d')",
    "views": "other cameras or crops ('camera', 'crop_to_image', 'root_camera_mm')",
    "sizes": "the same names, but the image files have other sizes",
}


class DataChange(NamedTuple):
    """A part of the fingerprint whose value is another than before."""

    part: str
    old: Any
    new: Any
    words: str  # both values for a reader


def fingerprint(table: PoseTable) -> Fingerprint:
    """Numbers and digests of the list, the labels as they are used, the sizes of image files, and the joints."""
    names = table.names.tolist()
    rows = np.unique(np.linspace(0, len(names) - 1, min(len(names), SIZES)).round().astype(np.int64))
    views = table.views
    columns = [] if views is None else [views.camera, views.crop_to_image, views.root_camera_mm]
    return {
        "images": len(names),
        "names": _digest(*sorted(names)),
        "order": _digest(*names),
        "pose2d": _digest(_bytes(table.joints_crop_px)),
        "pose3d": _digest(_bytes(table.joints_camera_mm)),
        "views": _digest(*map(_bytes, columns)),
        "sizes": _digest(_bytes(table.images.sizes_bytes(rows))),
        "joints": _digest(*(name.encode() for name in table.skeleton.names)),
    }


def find_data_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[DataChange]:
    """How a data set differs from an earlier one; parts that either does not know are passed over.

    Of other images only that is said: that their labels are other ones too goes without saying.
    """
    changed = [part for part in WORDS if part in old and part in new and old[part] != new[part]]
    if changed and changed[0] in ("images", "names", "order"):
        changed = changed[:1]
    return [DataChange(part, old[part], new[part], WORDS[part].format(old[part], new[part])) for part in changed]


def _bytes(values: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(values).tobytes()


def _digest(*parts: bytes) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()
