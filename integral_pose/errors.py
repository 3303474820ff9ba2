"""Errors that speak to the person who can act. The command line prints them without a traceback.

Each carries the exit status that scripts can rely on.
"""


class IntegralPoseError(Exception):
    """Something the user can mend: says what was expected, what was found, where, and what to change."""

    exit_code = 1


class ConfigError(IntegralPoseError):
    """A configuration file, an override or a command line that cannot be used as it stands."""

    exit_code = 2


class DataError(IntegralPoseError):
    """A data set, an image or a CSV that is missing, damaged or of another form."""

    exit_code = 3


class NonFiniteLossError(IntegralPoseError):
    """A loss that became NaN or infinite."""

    exit_code = 4


class CheckpointError(IntegralPoseError):
    """A checkpoint or run folder that is missing, damaged or of another model."""

    exit_code = 5


class OutputError(IntegralPoseError):
    """A run folder that cannot be written: full, read-only, gone, or in the hands of another run."""

    exit_code = 5


class Interrupted(IntegralPoseError):  # noqa: N818 - not a fault: the run was asked to stop and has been saved
    """The run was stopped by a signal after everything had been saved; the same command continues it."""

    exit_code = 75  # EX_TEMPFAIL: try again


class WorkerError(IntegralPoseError):
    """A process that reads images ended or hangs."""


class ProcessLostError(IntegralPoseError):
    """Another process of a distributed run ended or hangs."""


class OutOfMemoryError(IntegralPoseError):
    """The device's memory is too small for the batch."""
