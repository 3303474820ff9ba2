"""Frames, units and cameras: pure functions, no state."""
