"""From predictions to errors: metrics, protocols, intervals, files, tables."""
