"""What a measurement was made on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def describe_machine(device: torch.device) -> dict[str, Any]:
    """The keys that every JSON file of figures has."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return {"device": name, "threads": torch.get_num_threads(), "torch": str(torch.__version__)}


def _cpu_name() -> str:
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "CPU")
