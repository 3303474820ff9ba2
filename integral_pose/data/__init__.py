"""From files on disk to batches in memory."""
