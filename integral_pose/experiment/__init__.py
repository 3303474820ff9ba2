"""Builds everything from a configuration and runs it: train and test an experiment."""

from integral_pose.experiment.testing import TestResult, test, test_several
from integral_pose.experiment.training import train

__all__ = ["TestResult", "test", "test_several", "train"]
