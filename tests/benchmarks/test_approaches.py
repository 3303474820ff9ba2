"""The approaches as files: complete, and different only in what is compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.approaches import APPROACHES, BEST, EPOCHS, FOLDER, REFERENCE, SIZES
from benchmarks.trials import TRIALS
from integral_pose.config.loading import load_config

ROOT = Path(__file__).parents[2]
BY_NAME = {approach.name: approach for approach in APPROACHES}


def leaves(value: Any, key: str = "") -> dict[str, Any]:
    """{dotted key: value}; of a list of sections, a key of theirs has the list of its values."""
    if isinstance(value, dict):
        return {k: v for name, item in value.items() for k, v in leaves(item, f"{key}.{name}" if key else name).items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        names = dict.fromkeys(name for item in value for name in item)
        return {f"{key}.{name}": [item.get(name) for item in value] for name in names}
    return {key: value}


def differing(name: str, other: str) -> set[str]:
    one, two = (
        leaves(load_config(str(ROOT / BY_NAME[each].config)).config.model_dump(exclude={"run_dir"}))
        for each in (name, other)
    )
    return {key for key in one.keys() | two.keys() if one.get(key) != two.get(key)}


def test_every_file_of_the_folder_is_a_row():
    assert {Path(approach.config).stem for approach in APPROACHES} >= {
        path.stem for path in (ROOT / FOLDER).glob("*.yaml")
    }


@pytest.mark.parametrize("name", BY_NAME)
def test_files_differ_only_in_what_is_compared(name):
    approach = BY_NAME[name]
    found = differing(name, approach.differs_from)
    strange = {key for key in found if not any(key == a or key.startswith(f"{a}.") for a in approach.differs_in)}
    assert strange == set()
    assert found or name == REFERENCE


def test_the_best_is_the_file_that_is_shipped():
    assert BY_NAME[BEST].config == "configs/best.yaml"


@pytest.mark.parametrize("name", BY_NAME)
def test_every_approach_has_as_many_epochs_and_the_source_reports_shares(name):
    stages = load_config(str(ROOT / BY_NAME[name].config)).config.stages
    assert sum(stage.epochs for stage in stages) == EPOCHS
    if name == "integral_then_heatmap":
        assert [stage.epochs for stage in stages] == [23, 2]
        assert [stage.weights.heatmap > 0 for stage in stages] == [False, True]


@pytest.mark.parametrize("name", BY_NAME)
def test_every_approach_takes_the_large_size(name):
    config = load_config(str(ROOT / BY_NAME[name].config), (*SIZES["large"].overrides, *BY_NAME[name].large)).config
    cells = {"metro": 16, "coarse": 32, "image_heatmap": 32, BEST: 32}.get(name, 64)
    assert config.model.head == "regression" or config.volume_shape == (64, cells, cells)


@pytest.mark.parametrize("trial", TRIALS, ids=[trial.name for trial in TRIALS])
def test_every_trial_is_a_configuration_that_differs(trial):
    config = load_config(str(ROOT / trial.config), trial.changes).config
    assert trial.against in {each.name for each in TRIALS}
    assert bool(trial.changes) == (trial.name != trial.against)
    assert (config != load_config(str(ROOT / trial.config)).config) == bool(trial.changes)
    assert sum(stage.epochs for stage in config.stages) == EPOCHS
