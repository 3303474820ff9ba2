"""Losses and networks that do not go together are refused by the key to change."""

import pytest
from pydantic import ValidationError

from integral_pose.config.schema import Config


def config(model=None, loss=None, **weights):
    stage = {"epochs": 1, "learning_rate": 0.1, "weights": weights}
    plain = {"run_dir": "r", "data": {"root": "d"}, "model": model or {}, "loss": loss or {}, "stages": [stage]}
    return Config.model_validate(plain)


@pytest.mark.parametrize("head", ["volumetric", "planes", "axes", "regression"])
@pytest.mark.parametrize(("joints", "uncertainty"), [("beta_nll", "scale"), ("rle", "flow")])
def test_likelihoods_go_with_every_head(head, joints, uncertainty):
    assert config({"head": head, "uncertainty": uncertainty}, {"joints": joints}).loss.joints == joints


@pytest.mark.parametrize(
    ("model", "loss", "weights", "message"),
    [
        ({}, {"joints": "rle"}, {}, "model.uncertainty is 'none', but loss.joints 'rle' goes with 'flow'"),
        ({"uncertainty": "scale"}, {}, {}, "model.uncertainty is 'scale', but loss.joints 'l1' goes with 'none'"),
        ({"uncertainty": "flow"}, {"joints": "beta_nll"}, {}, "'beta_nll' goes with 'scale'"),
        ({"uncertainty": "scale"}, {"joints": "beta_nll"}, {"integral": 0.0, "heatmap": 1.0},
         "stages.0.weights.integral is 0, which would leave model.uncertainty 'scale' untrained"),
        ({"uncertainty": "scale", "volume": "image"}, {"joints": "beta_nll"}, {},
         "uncertainty is 'scale', a distance in mm, but x and y of volume 'image' are pixels"),
        ({"uncertainty": "scale"}, {"joints": "beta_nll", "sampled": True}, {},
         "sampled is true, but joints 'beta_nll' is of the expectation"),
        ({"head": "axes"}, {"sampled": True}, {}, "loss.sampled is true, which draws from a volume"),
        ({"decoder": "debiased"}, {"sampled": True}, {}, "with model.decoder 'debiased'"),
        ({"head": "regression"}, {}, {"variance": 1.0}, "stages.0.weights.variance is 1, but model.head 'regression'"),
        ({}, {"variance_sigma_cells": 2.0}, {}, "loss.variance_sigma_cells is 2, which no stage uses"),
        ({}, {}, {"integral": 0.0, "variance": 1.0}, "integral and heatmap are 0"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(model, loss, weights, message):
    with pytest.raises(ValidationError) as caught:
        config(model, loss, **weights)
    assert message in str(caught.value)
