"""The training loop, its step, and the state that a checkpoint holds."""
