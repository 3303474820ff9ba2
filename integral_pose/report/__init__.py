"""Figures and the page about runs."""
