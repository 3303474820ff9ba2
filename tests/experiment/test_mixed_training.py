"""Training on two sources at once: batches, terms, exact continuation, and what is refused before it starts."""

import h5py
import numpy as np
import pytest
import torch
import yaml

from integral_pose.config.loading import load_config_text
from integral_pose.config.schema import Config
from integral_pose.data.batch_order import BatchOrder
from integral_pose.data.course import read_train
from integral_pose.data.loader import PoseImages
from integral_pose.data.mixed_batches import MixedBatches, SourceImages, seed_of_source
from integral_pose.errors import CheckpointError, ConfigError, DataError
from integral_pose.experiment.assembly import read_training_data
from integral_pose.experiment.sources import require_shares, source_names
from integral_pose.experiment.training import train
from integral_pose.io.checkpoint_file import load_checkpoint
from integral_pose.io.distributed import Processes
from integral_pose.runs.metrics_file import read_metrics
from tests.nested import SPEED, differences

JOINTS = ["ankle_r", "wrist_l", "pelvis", "thorax", "nose"]
TABLE = {
    "ankle_r": {"RFoot": 1}, "wrist_l": {"LWrist": 1}, "pelvis": {"Hip": 1},
    "thorax": {"LShoulder": 0.5, "RShoulder": 0.5},
}  # fmt: skip


@pytest.fixture
def flat_root(make_course):
    """Seven images of 64 px with five joints in px, of which the nose is none of the network's."""
    root = make_course("flat", num_train=7, seed=5)
    with h5py.File(root / "annot/train.h5", "r+") as file:
        px = file["pose2d"][...][:, [3, 13, 0, 8, 9]]
        px[2, 1] = np.nan
        del file["pose2d"], file["pose3d"]
        file["pose2d"] = px
    skeleton = {
        "joints": JOINTS,
        "parents": dict.fromkeys(set(JOINTS) - {"pelvis"}, "pelvis"),
        "mirror_pairs": [],
        "root": "pelvis",
    }
    (root / "annot/skeleton.yaml").write_text(yaml.safe_dump(skeleton))
    (root / "annot/joints_from_network.yaml").write_text(yaml.safe_dump(TABLE))
    return root


@pytest.fixture
def mixed(tiny_values, course_root, flat_root):
    tiny_values["data"]["sources"] = [
        {"root": str(course_root), "images": 4}, {"root": str(flat_root), "images": 2, "weight": 0.5},
    ]  # fmt: skip
    tiny_values["trainer"] |= {"batch_size": 6}
    tiny_values["data"]["augmentation"] = {"backend": "device", "flip": 0.5}
    return tiny_values


def config_of(values):
    return Config.model_validate(values)


def weights_of(folder):
    return load_checkpoint(folder / "last.pt")["model"]


def train_rows(folder):
    return [row for row in read_metrics(folder / "metrics.jsonl") if row["group"] == "train"]


def test_a_stopped_run_goes_on_bit_for_bit(mixed, tmp_path):
    mixed["stages"] = [{"epochs": 2, "weights": {"integral": 1.0, "heatmap": 0.1}, "learning_rate": 1e-3}]
    whole = train(config_of(mixed))
    rows = train_rows(whole)
    assert {name for name in rows[0] if "/" in name} == {"integral/course", "integral/flat", "heatmap/course"}
    assert len(rows) == 4  # two epochs of the first source's ten images, four a batch
    assert all(np.isfinite(row["mpjpe_mm"]) for row in rows)
    stopped = mixed | {"run_dir": str(tmp_path / "stopped")}
    for steps in (1, None):
        stopped["trainer"] = mixed["trainer"] | {"max_steps": steps}
        folder = train(config_of(stopped))
    expected, found = weights_of(whole), weights_of(folder)
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


def test_two_processes_that_are_stopped_go_on_bit_for_bit(mixed, tmp_path, write_yaml, fork_server):
    """Each has half of every source, batch statistics and draws of its own."""
    mixed["stages"] = [{"epochs": 2, "weights": {"integral": 1.0, "heatmap": 0.1}, "learning_rate": 1e-3}]
    mixed["trainer"] |= {"ema_decay": 0.5, "log_every": 2}
    path = str(write_yaml(mixed))

    def train_by_two(run, *overrides):
        for process in fork_server.start_two(["train", path, f"run_dir={tmp_path / run}", *overrides], tmp_path):
            assert process.wait() == 0, process.said
        return load_checkpoint(tmp_path / run / "last.pt") | {"config": None}

    expected = train_by_two("whole")
    assert expected["progress"]["step"] == 4
    assert train_by_two("stopped", "trainer.max_steps=3")["progress"]["batch"] == 1  # within the second epoch
    assert differences(train_by_two("stopped"), expected) == []
    assert len({buffers[0].sum().item() for buffers in expected["buffers"]}) == 2
    rows = [[{k: v for k, v in row.items() if k not in SPEED} for row in train_rows(tmp_path / run)]
            for run in ("whole", "stopped")]  # fmt: skip
    assert rows[0] == rows[1]
    assert [row["step"] for row in rows[0]] == [2, 4]


def test_the_image_volume_learns_heat_maps_from_labels_in_px_too(mixed):
    mixed["model"]["volume"] = "image"
    mixed["stages"] = [{"epochs": 1, "weights": {"integral": 1.0, "heatmap": 0.1}, "learning_rate": 1e-3}]
    mixed["trainer"]["max_steps"] = 1
    (row,) = train_rows(train(config_of(mixed)))
    terms = ("integral/course", "integral/flat", "heatmap/course", "heatmap/flat")
    weighted = sum(row[f"{t}/course"] * w + 0.5 * row[f"{t}/flat"] * w for t, w in (("integral", 1), ("heatmap", 0.1)))
    assert all(row[term] > 0 for term in terms)
    assert row["loss"] == pytest.approx(weighted, rel=1e-6)


def batches_of(course_root, flat_root, *, rank=0, world=1, workers=0):
    sources = [
        SourceImages(PoseImages(read_train(root), 64, (64, 64), None), number, root.name)
        for root, number in ((course_root, 4), (flat_root, 2))
    ]
    return MixedBatches(sources, seed=3, workers=workers, rank=rank, world=world, pin_memory=False)


def rows_of(batches, epoch, first_batch=0):
    return [batch.indices.tolist() for batch in batches.epoch(epoch, first_batch)]


def test_every_batch_holds_its_number_of_each_source_and_all_are_seen_alike(course_root, flat_root):
    batches = batches_of(course_root, flat_root)
    assert len(batches) == 2
    epochs = [rows_of(batches, epoch) for epoch in range(7)]
    assert all(sum(row < 10 for row in batch) == 4 and len(batch) == 6 for epoch in epochs for batch in epoch)
    of_flat = [row - 10 for epoch in epochs for batch in epoch for row in batch[4:]]
    assert np.bincount(of_flat).tolist() == [4] * 7  # 28 images: four passes over seven
    order = BatchOrder(10, 4, seed=3, shuffle=True, rank=0, world=1)
    assert [batch[:4] for batch in epochs[0]] == [[key.row for key in keys] for keys in order]
    assert batches.name(11) == read_train(flat_root).name(1)
    assert batches.again(2, 1).indices.tolist() == epochs[2][1]


def test_batches_go_on_anywhere_and_are_shared_out_among_processes(course_root, flat_root):
    batches = batches_of(course_root, flat_root)
    whole = [rows_of(batches, epoch) for epoch in range(3)]
    assert rows_of(batches, 2, 1) == whole[2][1:]
    assert rows_of(batches_of(course_root, flat_root, workers=2), 1) == whole[1]
    shares = [rows_of(batches_of(course_root, flat_root, rank=rank, world=2), 1) for rank in range(2)]
    for batch, first, second in zip(whole[1], *shares, strict=True):
        assert sorted(batch) == sorted(first + second)
        assert sum(row < 10 for row in first) == sum(row < 10 for row in second) == 2
    parts = next(batches.epoch(0)).split(2)
    assert [len(part) for part in parts] == [3, 3]
    assert [len(source) for source in parts[1].sources] == [2, 1]


def test_sources_draw_numbers_of_their_own():
    assert seed_of_source(7, 0) == 7
    assert len({seed_of_source(7, source) for source in range(4)} | {seed_of_source(8, 1)}) == 5
    assert source_names(["a/x", "b/y", "c/x"]) == ["x_0", "y", "x_2"]


def refused(values, error, match):
    with pytest.raises(error, match=match):
        read_training_data(config_of(values))


def test_what_cannot_be_mixed_is_refused_before_training(mixed, flat_root, tmp_path):
    sources = mixed["data"]["sources"]
    for weight in (0, -1.0):
        with pytest.raises(ValueError, match="greater than 0"):
            config_of(mixed | {"data": mixed["data"] | {"sources": [sources[0], sources[1] | {"weight": weight}]}})
    with pytest.raises(ValueError, match=r"4 \+ 2 images a batch, but trainer.batch_size is 8; set it to 6"):
        config_of(mixed | {"trainer": mixed["trainer"] | {"batch_size": 8}})
    odd = mixed["data"] | {"sources": [source | {"images": 3} for source in sources]}
    with pytest.raises(ValueError, match=r"data.sources.0.images is 3, which trainer.accumulation_steps 2"):
        config_of(mixed | {"trainer": mixed["trainer"] | {"accumulation_steps": 2}, "data": odd})
    config = config_of(mixed)
    require_shares(config, Processes(rank=0, world=2))
    with pytest.raises(ConfigError, match=r"data.sources.0.images 4 is not divisible by 3 processes"):
        require_shares(config, Processes(rank=0, world=3))
    refused(
        mixed | {"data": mixed["data"] | {"sources": sources[::-1]}}, ConfigError, "data.sources.0.root is .*flat, but"
    )
    missing = [sources[0], sources[1] | {"root": str(tmp_path / "none")}]
    refused(mixed | {"data": mixed["data"] | {"sources": missing}}, DataError, "none: there is no such folder")
    with h5py.File(flat_root / "annot/train.h5", "r+") as file:
        file["pose2d"][:, :4] = np.nan  # the nose remains, which the network has not
    refused(mixed, DataError, "no image has a label of any joint that the network can learn it from: ankle_r, wrist_l")


def test_the_numbers_of_a_batch_are_fixed_and_places_are_not(mixed, flat_root, tmp_path):
    mixed["trainer"]["max_steps"] = 1
    folder = train(config_of(mixed))
    changed = mixed | {"trainer": mixed["trainer"] | {"max_steps": 2}}
    other = [mixed["data"]["sources"][0] | {"images": 3}, mixed["data"]["sources"][1] | {"images": 3}]
    with pytest.raises(CheckpointError, match=r"data.sources.0.images: 4 there, 3 now - not possible"):
        train(config_of(changed | {"data": mixed["data"] | {"sources": other}}))
    moved = flat_root.rename(tmp_path / "moved")
    sources = [mixed["data"]["sources"][0], mixed["data"]["sources"][1] | {"root": str(moved), "weight": 0.5}]
    with h5py.File(moved / "annot/train.h5", "r+") as file:
        file["pose2d"][0, 0] += 1
    with pytest.raises(CheckpointError, match="images of data.sources.1: other labels in px"):  # and the place is free
        train(config_of(changed | {"data": mixed["data"] | {"sources": sources}}))
    written = load_config_text((folder / "config.yaml").read_text(), "config.yaml", ()).config
    assert [source.images for source in written.data.sources] == [4, 2]
