"""Figures of poses, heat maps and curves, and the HTML page about runs."""
