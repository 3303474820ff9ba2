from __future__ import annotations

import torch

from integral_pose.training.meter import Meter


def test_meter_goes_through_a_checkpoint_unchanged() -> None:
    meter, device = Meter(), torch.device("cpu")
    meter.add({"loss": torch.tensor(0.1), "norm": torch.tensor(3.0)})
    meter.add({"loss": torch.tensor(0.2), "norm": torch.tensor(5.0)})
    other = Meter()
    other.restore(meter.state(), device)
    for both in (meter, other):
        both.add({"loss": torch.tensor(0.6), "norm": torch.tensor(1.0)})
    means = {name: value.item() for name, value in meter.means().items()}
    assert means == {name: value.item() for name, value in other.means().items()}
    assert round(means["loss"], 6) == 0.3
    assert means["norm"] == 3.0
    meter.reset()
    assert meter.state() == {"sums": {}, "count": 0}


def test_meters_of_other_processes_are_shared_out_so_that_the_mean_over_all_stays() -> None:
    states = [{"sums": {"loss": 2.0}, "count": 4}, {"sums": {"loss": 6.0}, "count": 4}]
    assert [Meter.share(states, rank, 2) for rank in (0, 1)] == states
    assert [Meter.share(states, rank, 3) for rank in range(3)] == [{"sums": {"loss": 4.0}, "count": 4}] * 3
