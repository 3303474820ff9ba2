"""The entry points: train and test an experiment. Imports every package; they do not import each other."""

from integral_pose.experiment.testing import TestResult, test, test_several
from integral_pose.experiment.training import train

__all__ = ["TestResult", "test", "test_several", "train"]
