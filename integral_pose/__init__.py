"""3D human pose from one RGB image by integral regression."""

__version__ = "0.1.0"
