"""What a run leaves on disk: checkpoints, metrics, status, lock."""
