"""A run as a model file to pass on: half precision, with a card of what it has learnt from and how far off it is."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from integral_pose.config.loading import load_config_text, to_yaml
from integral_pose.config.schema import Config
from integral_pose.errors import CheckpointError, DataError
from integral_pose.evaluation.scores_json import LARGEST_JSON_BYTES, read_scores_json
from integral_pose.experiment.prediction_record import is_of_checkpoint, read_record
from integral_pose.experiment.result_files import result_files
from integral_pose.io.notices import notify
from integral_pose.io.untrusted import read_regular
from integral_pose.weights.model_card import ModelCard
from integral_pose.weights.model_file import in_half_precision, save_model_file
from integral_pose.weights.stored_network import StoredNetwork, read_network

RealScores = dict[str, dict[str, float]]


def release_model(run: Path, out: Path, licence: str = "", real_pictures: Path | None = None) -> ModelCard:
    """Write the network of a run folder or checkpoint of training as the model file `out`.

    `real_pictures` is what `benchmarks real_pictures` wrote, real_pictures/real_pictures.json of the run where not
    given. What was not measured of this very checkpoint is left out, and said. Raises CheckpointError where it is none.
    """
    stored = read_network(run)
    config = _config(stored)
    portable = _with_names_for_paths(config)
    table = real_pictures or stored.source.parent / "real_pictures" / "real_pictures.json"
    card = ModelCard(
        data=Path(config.data.root).name,
        images_seen=_images_seen(stored),
        recipe=to_yaml(portable),
        licence=licence,
        test_mm=_test_mm(stored, config),
        real_pictures=_real_scores(table, stored.source),
        flip=config.evaluation.flip,
    )
    name = stored.source.resolve().parent.name
    network = portable.model.model_dump()
    description = replace(stored.description, network=network, provenance=f"training, {name}", card=card)
    save_model_file(out, description, in_half_precision(stored.build().state_dict()))
    return card


def _config(stored: StoredNetwork) -> Config:
    if stored.config_yaml is None:
        raise CheckpointError(f"{stored.source}: is a model file already; name the run that it was made from")
    return load_config_text(stored.config_yaml, str(stored.source), ()).config


def _images_seen(stored: StoredNetwork) -> int:
    """By these weights, those of the runs that they started from included."""
    config = _config(stored)
    own: int = stored.content["progress"]["step"] * config.trainer.batch_size
    if config.model.init is None:
        return own
    first = read_network(Path(config.model.init))
    if first.config_yaml is None:
        return own + (first.description.card.images_seen if first.description.card else 0)
    return own + _images_seen(first)


def _with_names_for_paths(config: Config) -> Config:
    """The same with the last part of each path, since folders of one machine say nothing on another."""
    sources = [each.model_copy(update={"root": Path(each.root).name}) for each in config.data.sources]
    data = config.data.model_copy(update={"root": Path(config.data.root).name, "sources": sources})
    model = config.model.model_copy(
        update={
            key: path and Path(path).name for key in ("init", "pretrained") for path in [getattr(config.model, key)]
        }
    )
    return config.model_copy(update={"run_dir": Path(config.run_dir).name, "data": data, "model": model})


def _test_mm(stored: StoredNetwork, config: Config) -> float | None:
    """The MPJPE that `test` wrote, where that was of this checkpoint."""
    root = Path(config.data.root)
    files = result_files(stored.source, root, root)
    record = read_record(files.path("predictions.json"))
    if record is None or not is_of_checkpoint(record, stored.source) or not files.path("scores.json").exists():
        notify(f"{stored.source}: without its error on the test images; integral-pose test {stored.source} measures it")
        return None
    return read_scores_json(files.path("scores.json"))[0].mpjpe_mm


def _real_scores(table: Path, checkpoint: Path) -> RealScores:
    """The row of the run, where the table was written after its checkpoint."""
    name = checkpoint.resolve().parent.name
    if not table.exists() or table.stat().st_mtime < checkpoint.stat().st_mtime:
        notify(f"{checkpoint}: without its errors on real pictures, since {table} is not there or older: "
               "docs/real_pictures.md")  # fmt: skip
        return {}
    try:
        rows: list[Mapping[str, Any]] = json.loads(read_regular(table, LARGEST_JSON_BYTES))["rows"]
        row = next(row for row in rows if row["name"] == name)
        scores = {**row["crops"], **{sample: {"pck": row[sample]["pck"]} for sample in ("coco", "mpii")}}
        return TypeAdapter(RealScores).validate_python(scores)
    except (ValueError, KeyError, TypeError, StopIteration, ValidationError) as error:
        raise DataError(
            f"{table}: expected the rows that `benchmarks real_pictures` writes, one of them named {name}; "
            f"found {type(error).__name__} {error}"
        ) from None
