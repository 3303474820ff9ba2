"""Boxes of people by torchvision's smallest detector, where its weights are at hand."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torchvision.models.detection import SSDLite320_MobileNet_V3_Large_Weights, ssdlite320_mobilenet_v3_large

from integral_pose.errors import CheckpointError
from integral_pose.io.checkpoint_file import load_tensors, require_state_dict
from integral_pose.io.images import Picture
from integral_pose.io.published_weights import published_file
from integral_pose.predict.box_forms import SMALLEST_BOX_PX, Boxes
from integral_pose.predict.coco_people import LEAST_SCORE

WEIGHTS = SSDLite320_MobileNet_V3_Large_Weights.COCO_V1
INSTEAD = "give the people's boxes with --box or --boxes, or take --whole-image"


class PersonDetector:
    """SSDlite 320 on MobileNet v3, trained on COCO. Its boxes are as tight as a detector's are: see docs/predict.md."""

    def __init__(self, weights: Path | None = None, device: torch.device | str = "cpu") -> None:
        """From a state dict, or from torchvision's cache, or downloaded. Raises CheckpointError."""
        weights = weights or published_file(
            WEIGHTS.url, "the weights of the person detector", f"name it with --detector-weights; or {INSTEAD}"
        )
        state = require_state_dict(load_tensors(weights), weights)
        self.network: nn.Module = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
        try:
            self.network.load_state_dict(state)
        except RuntimeError as error:
            first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
            raise CheckpointError(
                f"{weights}: is no state dict of torchvision's ssdlite320_mobilenet_v3_large: {first:.200}"
            ) from None
        self.network.eval().to(device)
        self.person = WEIGHTS.meta["categories"].index("person")
        self.device = device

    def boxes(self, picture: Picture) -> Boxes:
        """(N, 4) x, y, w, h of the people in a picture (H, W, 3), surest first."""
        pixels = torch.from_numpy(picture).to(self.device).permute(2, 0, 1) / 255
        with torch.inference_mode():
            found = self.network([pixels])[0]
        return person_boxes(found, self.person)


def person_boxes(found: dict[str, Any], person: int) -> Boxes:
    """A torchvision detector's output for one picture -> (N, 4) x, y, w, h of the people it is sure of."""
    corners = found["boxes"].double().cpu().numpy()
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], -1)
    sure = (found["labels"] == person) & (found["scores"] >= LEAST_SCORE)
    return boxes[sure.cpu().numpy() & (boxes[:, 2:].min(-1, initial=np.inf) >= SMALLEST_BOX_PX)]
