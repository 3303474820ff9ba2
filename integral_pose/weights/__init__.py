"""Weights of trained networks: model files, loading, importing, exporting, other projects' formats."""
