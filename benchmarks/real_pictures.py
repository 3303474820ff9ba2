"""`python -m benchmarks real_pictures`: what trained networks predict on real photographs, beside the mean pose.

docs/real_pictures.md defines every column.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.real_samples import JOINTS, LabelledPerson, read_coco, read_mpii, samples_folder
from integral_pose.config.loading import load_config_text
from integral_pose.config.schema import Config
from integral_pose.data.course import PoseTable, read_test
from integral_pose.data.pose_statistics import read_statistics
from integral_pose.errors import ConfigError
from integral_pose.evaluation.metrics import joint_errors_mm, pck, swapped_sides
from integral_pose.evaluation.text_tables import markdown_table
from integral_pose.geometry.crop import rectangle_round_box
from integral_pose.geometry.placement import fit_to_box
from integral_pose.io.atomic import write_text_atomic
from integral_pose.io.images import read_picture
from integral_pose.io.resampling import resample_rectangle
from integral_pose.predict.pose_model import PersonPose, PoseModel
from integral_pose.report.canvas import write_png
from integral_pose.report.pose_figures import PoseView, draw_people, draw_poses
from integral_pose.skeleton import HUMAN36M, Skeleton, joint_order
from integral_pose.weights.model_file import ModelDescription
from integral_pose.weights.stored_network import LoadedNetwork, StoredNetwork, read_network

Array = NDArray[np.float64]
Predict = Callable[..., list[PersonPose]]  # picture, boxes -> poses
People = Mapping[str, Sequence[LabelledPerson]]  # by sample

UPRIGHT = ("S1", "S7", "S8")  # S5 lies with the feet up
PCK_TORSOS = 0.2
VIEW_PX = 256


def real_pictures(options: argparse.Namespace) -> None:
    """Print the table; write real_pictures.json and a folder of overlays for each network."""
    _, missing = samples_folder()
    if missing:
        print(f"real_pictures: skipped: {missing}")
        return
    networks = [read_network(path) for path in options.runs]
    names = [_name(network.source) for network in networks]
    if len(set(names)) < len(names):
        raise ConfigError(f"two networks have one name: {', '.join(names)}; copy one to a folder of another name")
    out = options.out or networks[0].source.parent / "real_pictures"
    rows = _mean_pose_rows(networks, *_read_samples())
    rows += [score_network(name, stored, out / name) for name, stored in zip(names, networks, strict=True)]
    write_text_atomic(out / "real_pictures.json", json.dumps({"rows": rows}, indent=1, allow_nan=False) + "\n")
    print(f"{markdown_table([table_row(row) for row in rows])}\n{out}")


def score_network(name: str, stored: StoredNetwork, out: Path) -> dict[str, Any]:
    """The row of a network; its overlays go to `out`."""
    model = PoseModel(LoadedNetwork(stored.build(), stored.description, stored.source))
    predict = partial(model.predict, flip=_is_averaged(stored))
    return _predict_and_draw(name, model.description, predict, *_read_samples(), out)


@cache
def _read_samples() -> tuple[PoseTable, People]:
    """The crops and the people by sample."""
    folder, _ = samples_folder()
    people = {"coco": read_coco(folder / "coco_sample"), "mpii": read_mpii(folder / "mpii_sample")}
    return read_test(folder / "h36m_real_sample"), people


def turned_round(predicted_camera_mm: ArrayLike, true_camera_mm: ArrayLike) -> NDArray[np.bool_]:
    """(N,) whether the MPJPE of a pose (N, 17, 3) falls when all left and right joints of the prediction change names.

    Someone seen from the front and taken for someone seen from behind has each limb where it is seen, under the name
    of the other side. `swapped_sides` asks this of one pair of joints, `turned_round` of all six together.
    """
    exchanged_mm = np.asarray(predicted_camera_mm)[:, list(HUMAN36M.flip_order)]
    errors_mm = [
        joint_errors_mm(poses_mm, true_camera_mm, root=HUMAN36M.root)
        for poses_mm in (predicted_camera_mm, exchanged_mm)
    ]
    turned: NDArray[np.bool_] = errors_mm[1].mean(1) < errors_mm[0].mean(1)
    return turned


def scores_of_crops(subjects: Sequence[str], predicted_mm: ArrayLike, true_mm: ArrayLike) -> dict[str, Any]:
    """Of poses (N, 17, 3): each by its subject, then the means over the `upright` and over `all`."""
    columns = {
        "mpjpe_mm": joint_errors_mm(predicted_mm, true_mm, root=HUMAN36M.root).mean(1),
        "pa_mpjpe_mm": joint_errors_mm(predicted_mm, true_mm, "pa_mpjpe", root=HUMAN36M.root).mean(1),
        "swapped_sides": swapped_sides(predicted_mm, true_mm, HUMAN36M).mean(1),
        "turned_round": turned_round(predicted_mm, true_mm).astype(float),
    }
    means = {name: {key: float(column[row]) for key, column in columns.items()} for row, name in enumerate(subjects)}
    upright = [subjects.index(subject) for subject in UPRIGHT]
    means["upright"] = {key: float(column[upright].mean()) for key, column in columns.items()}
    means["all"] = {key: float(column.mean()) for key, column in columns.items()}
    return means


def errors_in_torsos(predicted_image_px: ArrayLike, true_image_px: ArrayLike) -> Array:
    """(12,) distances of JOINTS (12, 2) over the torso, from mid-shoulders to mid-hips of the truth; NaN: no label.

    All are NaN where a shoulder or a hip is not labelled.
    """
    true_px = np.asarray(true_image_px, dtype=np.float64)
    shoulders, hips = ([JOINTS.index(side + joint) for side in "LR"] for joint in ("Shoulder", "Hip"))
    torso_px = np.linalg.norm(true_px[shoulders].mean(0) - true_px[hips].mean(0))
    errors: Array = np.linalg.norm(np.asarray(predicted_image_px) - true_px, axis=-1) / torso_px
    return errors


def scores_of_people(people: Sequence[LabelledPerson], predicted_image_px: Sequence[ArrayLike]) -> dict[str, Any]:
    """From JOINTS (12, 2) of each: the share of the labelled that are less than PCK_TORSOS off, of all and by person.

    Raises ValueError for a person of whom no joint can be counted.
    """
    pairs = zip(people, predicted_image_px, strict=True)
    errors = {person.name: errors_in_torsos(px, person.joints_image_px) for person, px in pairs}
    known = {name: values[np.isfinite(values)] for name, values in errors.items()}
    together = np.concatenate(list(known.values()))
    shares = {name: pck(values, PCK_TORSOS) for name, values in known.items()}
    return {"pck": pck(together, PCK_TORSOS), "joints": together.size, "people": shares}


def table_row(row: Mapping[str, Any]) -> dict[str, str]:
    """A row of the JSON file as one of the table: mm, shares in per cent, who is turned round."""
    crops = row["crops"]
    errors = {subject: f"{crops[subject]['mpjpe_mm']:.1f}" for subject in (*UPRIGHT, "S5")}
    return {
        "model": row["name"], **errors, "mean upright": f"{crops['upright']['mpjpe_mm']:.1f}",
        "PA all": f"{crops['all']['pa_mpjpe_mm']:.1f}", "swapped": f"{crops['all']['swapped_sides']:.0%}",
        "turned": " ".join(subject for subject in errors if crops[subject]["turned_round"]) or "nobody",
        "COCO PCK": f"{row['coco']['pck']:.0%}", "MPII PCK": f"{row['mpii']['pck']:.0%}",
    }  # fmt: skip


def _name(source: Path) -> str:
    """The run folder's for its best.pt, else with the file's."""
    folder = source.resolve().parent.name
    return folder if source.name == "best.pt" else f"{folder}-{source.stem}"


def _subjects(table: PoseTable) -> list[str]:
    return [table.name(row).partition("_")[0] for row in range(len(table))]


def _mean_pose_rows(networks: Sequence[StoredNetwork], table: PoseTable, people: People) -> list[dict[str, Any]]:
    """A row for each training set of the runs; prints which are not here."""
    rows = []
    for root, order in dict.fromkeys((each.data.root, each.data.joint_order) for each in _configs(networks)):
        if not Path(root, "annot").is_dir():
            print(f"no mean pose of {root}: the folder is not here")
            continue
        mean_mm = read_statistics(Path(root), joint_order=order).mean_mm.astype(np.float64)
        poses_mm = np.broadcast_to(mean_mm, table.joints_camera_mm.shape)
        row: dict[str, Any] = {"name": f"mean pose of {root}"}
        row["crops"] = scores_of_crops(_subjects(table), poses_mm, table.joints_camera_mm)
        chosen = list(joint_order(HUMAN36M.names, JOINTS))
        for sample, each in people.items():
            row[sample] = scores_of_people(each, [fit_to_box(mean_mm, one.box_image_px)[chosen] for one in each])
        rows.append(row)
    return rows


def _configs(networks: Sequence[StoredNetwork]) -> list[Config]:
    """Of those that are a run's; a model file has none."""
    return [load_config_text(each.config_yaml, str(each.source), ()).config for each in networks if each.config_yaml]


def _is_averaged(network: StoredNetwork) -> bool:
    """Whether its pictures are mirrored too: as the run says, or the card of a model file."""
    card = network.description.card
    return any(config.evaluation.flip for config in _configs([network])) or (card is not None and card.flip)


def _predict_and_draw(
    name: str, description: ModelDescription, predict: Predict, table: PoseTable, people: People, out: Path
) -> dict[str, Any]:
    """The row of a network; its predictions drawn in one picture a sample."""
    skeleton = description.skeleton
    views = [_predict_crop(description.box_scale, predict, table, row) for row in range(len(table))]
    write_png(out / "h36m.png", draw_poses(views, HUMAN36M))
    predicted_mm = np.array([view.predicted_camera_mm for view in views])
    row: dict[str, Any] = {"name": name}
    row["crops"] = scores_of_crops(_subjects(table), predicted_mm, table.joints_camera_mm)
    chosen = list(joint_order(skeleton.names, JOINTS))
    for sample, each in people.items():
        poses = [predict(person.picture, [person.box_image_px])[0] for person in each]
        row[sample] = scores_of_people(each, [pose.joints_image_px[chosen] for pose in poses])
        views = [_draw_person(*pair, skeleton) for pair in zip(each, poses, strict=True)]
        write_png(out / f"{sample}.png", draw_poses(views, skeleton))
    return row


def _predict_crop(box_scale: float, predict: Predict, table: PoseTable, row: int) -> PoseView:
    """With the box for which the network gets the crop as it is; in the joints of Human3.6M."""
    picture = read_picture(table.images_folder / table.name(row))
    side_px = picture.shape[0] / box_scale
    corner_px = (picture.shape[0] - side_px) / 2
    pose = predict(picture, [[corner_px, corner_px, side_px, side_px]])[0]
    predicted_mm = pose.joints_camera_mm[list(joint_order(pose.names, HUMAN36M.names))]
    return PoseView(picture, predicted_mm, table.joints_camera_mm[row], table.joints_crop_px[row], table.name(row))


def _draw_person(person: LabelledPerson, pose: PersonPose, skeleton: Skeleton) -> PoseView:
    """As placed in the photograph, and from three sides."""
    overlay = draw_people(read_picture(person.picture), [pose.joints_image_px], [person.box_image_px], skeleton)
    around = rectangle_round_box(person.box_image_px, 1.3, 1.0)
    return PoseView(resample_rectangle(overlay, around, VIEW_PX, VIEW_PX), pose.joints_camera_mm, title=person.name)
