"""Errors that the user can correct. The command line prints them without a traceback and exits with their status."""


class IntegralPoseError(Exception):
    """Base class. A message states what was expected, what was found, where, and what to change."""

    exit_code = 1


class ConfigError(IntegralPoseError):
    """A configuration file, an override or a command line that cannot be used as it stands."""

    exit_code = 2


class DataError(IntegralPoseError):
    """A data set, an image or a CSV that is missing, damaged or of another format."""

    exit_code = 3


class NonFiniteLossError(IntegralPoseError):
    """A loss that became NaN or infinite."""

    exit_code = 4


class CheckpointError(IntegralPoseError):
    """A checkpoint or run folder that is missing, damaged or of another model."""

    exit_code = 5


class UnreadableCheckpointError(CheckpointError):
    """A checkpoint of which nothing is known, since it could not be read just now: rights, disk, memory."""


class OutputError(IntegralPoseError):
    """A run folder that cannot be written: full, read-only, deleted, or in use by another run."""

    exit_code = 5


class FolderLostError(OutputError):
    """A run folder that was taken away from under its run."""


class Interrupted(IntegralPoseError):  # noqa: N818 - not an error: the run was asked to stop and has been saved
    """The run was stopped by a signal and has been saved; the same command continues it."""

    exit_code = 75  # EX_TEMPFAIL: try again


class WorkerError(IntegralPoseError):
    """A data loader worker ended or hangs; the same command continues the run."""

    exit_code = 6


class ProcessLostError(IntegralPoseError):
    """Another process of a distributed run ended or hangs; the same command continues the run."""

    exit_code = 6


class OutOfMemoryError(IntegralPoseError):
    """The device's memory is too small for the batch."""
