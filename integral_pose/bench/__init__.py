"""Measurements: two ways of doing a thing, interleaved in one run, as a ratio."""
