"""From predictions to errors, tables and pictures."""
