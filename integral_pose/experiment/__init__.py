"""The front door: train and test an experiment. Knows every room; the rooms do not know each other."""

from integral_pose.experiment.testing import TestResult, test, test_several
from integral_pose.experiment.training import train

__all__ = ["TestResult", "test", "test_several", "train"]
