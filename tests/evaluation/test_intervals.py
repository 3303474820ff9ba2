import numpy as np
import pytest

from integral_pose.evaluation.intervals import Estimate, paired_interval, sequence_interval


def test_two_sequences_by_hand():
    # Drawn: both a (1/4), one of each (1/2), both b (1/4): means 0, (0 + 0 + 12) / 3 = 4, and 12.
    interval = sequence_interval([0.0, 0.0, 12.0], ["a", "a", "b"])
    assert interval == Estimate(4.0, 0.0, 12.0)


def test_the_interval_covers_the_true_mean_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    for trial in range(200):
        per_sequence = rng.normal(100, 10, 40)
        values = (per_sequence[:, None] + rng.normal(0, 1, (40, 5))).ravel()
        interval = sequence_interval(values, [str(i // 5) for i in range(200)], draws=400, seed=trial)
        hits += interval.low <= 100 <= interval.high
    assert 0.88 <= hits / 200 <= 0.99


def test_frames_of_one_sequence_are_not_taken_for_independent():
    rng = np.random.default_rng(1)
    values = np.repeat(rng.normal(0, 10, 20), 100)
    together = sequence_interval(values, [str(i // 100) for i in range(2000)])
    apart = sequence_interval(values, [str(i) for i in range(2000)])
    assert together.high - together.low > 5 * (apart.high - apart.low)


def test_pairing_sees_what_the_intervals_alone_do_not():
    rng = np.random.default_rng(2)
    hard = np.repeat(rng.normal(100, 30, 30), 10)
    sequences = [str(i // 10) for i in range(300)]
    first, second = hard + rng.normal(0, 1, 300), hard - 2 + rng.normal(0, 1, 300)
    difference = paired_interval(first, second, sequences)
    assert difference.excludes_zero
    assert difference.high < 0
    assert difference.mean == pytest.approx(-2, abs=0.3)
    alone = sequence_interval(first, sequences)
    assert alone.low < sequence_interval(second, sequences).high
    assert not paired_interval(first, first, sequences).excludes_zero


def test_draws_in_pieces_are_as_many_as_asked_for(monkeypatch):
    values, sequences = np.arange(12.0), [str(i) for i in range(12)]
    whole = sequence_interval(values, sequences, draws=1000)
    monkeypatch.setattr("integral_pose.evaluation.intervals._NUMBERS_AT_ONCE", 100)
    pieces = sequence_interval(values, sequences, draws=1000)
    assert pieces.low == pytest.approx(whole.low, abs=0.4)
    assert pieces.high == pytest.approx(whole.high, abs=0.4)


def test_what_cannot_have_an_interval():
    for sequences in ([], ["a", "a"]):
        assert sequence_interval([1.0, 2.0], sequences) == Estimate(1.5, None, None)
        assert paired_interval([1.0, 2.0], [2.0, 2.0], sequences).bounds is None
    assert not Estimate(5.0).excludes_zero
    with pytest.raises(ValueError, match="one value a frame"):
        sequence_interval([1.0, 2.0], ["a"])
