"""The moving average and the copy of buffers: the same numbers in a handful of launches."""

from __future__ import annotations

import torch
import torchvision

from integral_pose.training.buffers import BufferCopy
from integral_pose.training.moving_average import MovingAverage, move_towards, move_towards_together
from tests.launches import Launches

MOST_LAUNCHES = 10


def test_together_is_one_by_one_to_rounding() -> None:
    generator = torch.Generator().manual_seed(0)
    own, newest = ([torch.randn(shape, generator=generator) for shape in ((3, 4), (5,), ())] for _ in range(2))
    for weight in (0.0, 0.001, 1.0):
        one, all_of_them = ([tensor.clone() for tensor in own] for _ in range(2))
        move_towards(one, newest, torch.tensor(weight))
        move_towards_together(all_of_them, newest, torch.tensor(weight))
        torch.testing.assert_close(one, all_of_them, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(one, newest)


def test_few_launches_on_a_device() -> None:
    model = torchvision.models.resnet50(weights=None).to("meta")
    average, counts = MovingAverage(model, 0.999), torch.ones((), dtype=torch.bool, device="meta")
    with Launches() as launches:
        average.update(model, counts)
    assert launches.found.total() <= MOST_LAUNCHES, launches.found
    copies = BufferCopy(model)
    with Launches() as launches:
        copies.take()
        copies.put_back(where=counts)
    assert launches.found.total() <= MOST_LAUNCHES, launches.found


def test_the_average_takes_the_newest_buffers_and_leaves_a_step_out() -> None:
    model = torch.nn.BatchNorm1d(2)
    average = MovingAverage(model, 0.75)
    average.update(model, torch.tensor(True))
    with torch.no_grad():
        model.weight.fill_(5.0)
        model.running_mean.fill_(7.0)
        model.num_batches_tracked.fill_(3)
    average.update(model, torch.tensor(False))
    assert average.module.weight.tolist() == [1.0, 1.0]
    average.update(model, torch.tensor(True))
    assert average.module.weight.tolist() == [2.0, 2.0]
    assert average.module.running_mean.tolist() == [7.0, 7.0]
    assert average.module.num_batches_tracked.item() == 3
