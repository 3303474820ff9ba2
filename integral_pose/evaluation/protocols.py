"""The protocols of the literature by name: which frames and joints count, and which figure is the headline."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from integral_pose.errors import ConfigError, DataError
from integral_pose.io.frame_names import FrameName
from integral_pose.skeleton import Skeleton

LSP_JOINTS = (
    "Head", "Thorax", "LShoulder", "LElbow", "LWrist", "RShoulder", "RElbow", "RWrist",
    "LHip", "LKnee", "LFoot", "RHip", "RKnee", "RFoot",
)  # fmt: skip


@dataclass(frozen=True)
class Protocol:
    """One way to score a set. What is None or 1 chooses nothing."""

    name: str
    headline: str  # a key of `metrics.summarise`
    meaning: str
    subjects: tuple[str, ...] | None = None
    every_frame: int = 1  # frames 1, 1 + n, .. of each video
    joints: tuple[str, ...] | None = None
    num_images: tuple[int, ...] = ()  # of the sets that the literature scores, the complete one first

    def doubt(self, num_samples: int) -> str | None:
        """Why figures over so many images cannot be held against the literature's; None where they can."""
        if not self.num_images or num_samples in self.num_images:
            return None
        sizes = " or ".join(f"{number:,}" for number in self.num_images)
        without = ", the latter without the corrupt video of S11" if len(self.num_images) > 1 else ""
        return f"The protocol has {sizes} images{without}, this set {num_samples:,}: not comparable."

    def rows(self, frames: Sequence[FrameName | None]) -> NDArray[np.int64]:
        """Positions of the frames that count. Raises DataError where names do not hold these, or none counts."""
        if self.subjects is None and self.every_frame == 1:
            return np.arange(len(frames))
        if any(frame is None for frame in frames) or not frames:
            raise DataError(
                f"protocol '{self.name}' chooses by subject and frame, which the image names do not hold; expected "
                "names such as S9_Walking_1.54138969_000001.jpg in the list beside the labels"
            )
        chosen = [
            row
            for row, frame in enumerate(frames)
            if frame is not None
            and (self.subjects is None or frame.subject in self.subjects)
            and (frame.frame - 1) % self.every_frame == 0
        ]
        if not chosen:
            raise DataError(f"protocol '{self.name}' ({self.meaning}) finds none of its images in this set")
        return np.array(chosen)

    def joint_indices(self, skeleton: Skeleton) -> list[int]:
        """Indices of the joints that count. Raises DataError where the skeleton lacks one that the protocol names."""
        if missing := [name for name in self.joints or () if name not in skeleton.names]:
            raise DataError(
                f"protocol '{self.name}' scores {', '.join(missing)}, which these poses do not have; they have: "
                f"{', '.join(skeleton.names)}"
            )
        return [skeleton.names.index(name) for name in self.joints or skeleton.names]


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("all", "mpjpe_mm", "every image of the set, all joints"),
        Protocol("course", "mpjpe_mm", "S9 and S11, every 10th entry of the list of every 5th frame, as `prepare h36m` "
                 "writes it", ("S9", "S11"), num_images=(10_987,)),
        Protocol("every-64th", "mpjpe_mm", "S9 and S11, every 64th frame (Sun et al., protocol 2)", ("S9", "S11"), 64,
                 num_images=(8_724, 8_695)),
        Protocol("s11-rigid", "rigid_mpjpe_mm", "S11, every 64th frame, after alignment of rotation and "
                 "translation but not scale (Sun et al., protocol 1; they move the hips together again afterwards)",
                 ("S11",), 64, num_images=(3_712, 3_683)),
        Protocol("3dhp", "pck_150", "MPI-INF-3DHP's test people, 14 joints from the hip, 3DPCK at 150 mm; official "
                 "figures are of bodies scaled to one height, these in true mm",
                 tuple(f"TS{i}" for i in range(1, 7)), joints=LSP_JOINTS, num_images=(2_929,)),
    )
}  # fmt: skip


def find_protocol(name: str) -> Protocol:
    """By name. Raises ConfigError that lists the known ones."""
    if name not in PROTOCOLS:
        raise ConfigError(f"unknown protocol '{name}'. Known: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
