"""Reading the course layout: what is there, and each fault by its message."""

from __future__ import annotations

import errno
import re

import h5py
import numpy as np
import pytest

from integral_pose.data.course import evenly_spaced, read_test, read_train, split_by_subject
from integral_pose.data.image_source import read_image_list
from integral_pose.data.pose_statistics import read_statistics
from integral_pose.datasets.stored import read_split
from integral_pose.errors import DataError


def rewrite(root, **datasets):
    """train.h5 anew: the old data sets, some of them replaced; None leaves one out."""
    path = root / "annot/train.h5"
    with h5py.File(path) as file:
        old = {name: file[name][()] for name in file}
    with h5py.File(path, "w") as file:
        for name, values in (old | datasets).items():
            if values is not None:
                file[name] = values
    return old


def error_of(call, *arguments):
    with pytest.raises(DataError) as caught:
        call(*arguments)
    return str(caught.value)


def test_what_is_read(own_course_root):
    with h5py.File(own_course_root / "annot/train.h5") as file:
        camera_mm, crop_px = file["pose3d"][()], file["pose2d"][()]
    table = read_train(own_course_root)
    assert len(table) == 10
    assert table.name(1) == "S5_Walking_1.54138969_000002.jpg"
    assert table.has_labels
    np.testing.assert_array_equal(table.joints_camera_mm, camera_mm - camera_mm[:, :1])
    np.testing.assert_array_equal(table.joints_crop_px, crop_px)
    assert table.joints_camera_mm.dtype == table.joints_crop_px.dtype == np.float32


def test_float64_labels_and_other_data_sets_beside_them(own_course_root):
    old = rewrite(own_course_root)
    rewrite(own_course_root, pose3d=old["pose3d"].astype(np.float64), camera=np.zeros(3))
    assert read_train(own_course_root).joints_camera_mm.dtype == np.float32


def test_a_test_set_without_labels(make_course):
    table = read_test(make_course(valid_labels=False))
    assert not table.has_labels
    assert len(table) == 5
    assert np.isnan(table.joints_camera_mm).all()
    assert table.joints_crop_px.shape == (5, 17, 2)


def test_no_such_root(tmp_path):
    assert error_of(read_train, tmp_path / "no") == (
        f"data.root {tmp_path / 'no'}: there is no such folder. Give the folder that holds annot/ and images/, or make "
        f"the synthetic data set with: integral-pose prepare synthetic --out {tmp_path / 'no'}"
    )


LIST_FAULTS = [
    (b"", "{list}: is empty; it lists the images, one path a line"),
    (b"\n \n", "{list}: is empty; it lists the images, one path a line"),
    (b"\xff\n",
     "{list}: cannot be read as UTF-8 text: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    (b"NAME\n\nNAME\n", "{list}:2: '' is empty; paths are relative to {images}"),
    (b"a\0b.jpg\n",
     "{list}:1: 'a\\x00b.jpg' has control characters, which terminals obey; paths are relative to {images}"),
    (b"NAME\n../secret.jpg\n", "{list}:2: '../secret.jpg' leaves the images folder; paths are relative to {images}"),
    (b"a/../../b.jpg\n", "{list}:1: 'a/../../b.jpg' leaves the images folder; paths are relative to {images}"),
    (b"..\\b.jpg\n", "{list}:1: '..\\\\b.jpg' leaves the images folder; paths are relative to {images}"),
    (b"/etc/passwd\n", "{list}:1: '/etc/passwd' leaves the images folder; paths are relative to {images}"),
    (b"NAME\nno.jpg\n",
     "{list}:2: the image {images}/no.jpg does not exist; restore it, or take its line and its row in "
     "the .h5 out"),
    (b"no.jpg\nNAME\nno/no.jpg\n",
     "{list}:1: the image {images}/no.jpg does not exist (2 of 3 listed images are missing); "
     "restore it, or take its line and its row in the .h5 out"),
    (b"NAME/no.jpg\n",
     "{list}:1: the image {images}/NAME/no.jpg does not exist; restore it, or take its line and its row "
     "in the .h5 out"),
    (b"x" * 300 + b"/a.jpg", "{list}:1: the image {images}/" + "x" * 300 + "/a.jpg does not exist; restore it, or take "
     "its line and its row in the .h5 out"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), LIST_FAULTS)
def test_faults_of_the_image_list(own_course_root, content, message):
    path, images = own_course_root / "annot/train_images.txt", own_course_root / "images"
    name = sorted(images.iterdir())[0].name
    path.write_bytes(content.replace(b"NAME", name.encode()))
    expected = message.replace("{list}", str(path)).replace("{images}", str(images)).replace("NAME", name)
    assert error_of(read_train, own_course_root) == expected


def test_missing_list_and_images_folder(own_course_root):
    (own_course_root / "images").rename(own_course_root / "pictures")
    list_path = own_course_root / "annot/train_images.txt"
    assert error_of(read_train, own_course_root) == (
        f"{own_course_root}/images: there is no such folder; it holds the images that {list_path} lists"
    )
    list_path.unlink()
    assert error_of(read_train, own_course_root) == (
        f"{list_path}: there is no such file or folder; it is the list of the images, one path a line"
    )


@pytest.mark.parametrize("name", ["ä ö\u2028#%.jpg", "r-f.jpg", "a/b c/$(x).jpg", "\u4eba.png", "..a"])
def test_odd_file_names(tmp_path, name):
    path = tmp_path / "images" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    for ending in ("\n", "\r\n", ""):
        (tmp_path / "list.txt").write_bytes((name + ending).encode())
        assert [n.decode() for n in read_image_list(tmp_path / "list.txt", tmp_path / "images")] == [name]


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({"pose2d": None}, "has no data set 'pose2d'; it has: pose3d"),
        ({"pose2d": None, "pose3d": None}, "has no data set 'pose2d'; it has: nothing"),
        ({"pose3d": np.zeros((9, 17, 3))},
         "'pose3d' has 9 rows, but {list} lists 10 images; line i of the list belongs to "
         "row i"),
        ({"pose2d": np.zeros((11, 17, 2))},
         "'pose2d' has 11 rows, but {list} lists 10 images; line i of the list belongs to "
         "row i"),
        ({"pose3d": np.zeros((10, 16, 3))},
         "'pose3d' has the shape (10, 16, 3), expected (10, 17, 3): these are not Human3.6M's 17 "
         "joints, so name them in {annot}/skeleton.yaml (docs/data.md)"),
        ({"pose3d": np.zeros((10, 51))}, "'pose3d' has the shape (10, 51), expected (10, 17, 3)"),
        ({"pose2d": np.zeros((10, 17, 3))}, "'pose2d' has the shape (10, 17, 3), expected (10, 17, 2)"),
        ({"pose2d": np.full((10, 17, 2), b"x")}, "'pose2d' holds |S1, expected numbers"),
    ],
)  # fmt: skip
def test_faults_of_the_labels(own_course_root, datasets, message):
    rewrite(own_course_root, **datasets)
    list_path = own_course_root / "annot/train_images.txt"
    expected = f"{own_course_root}/annot/train.h5: " + message.replace("{list}", str(list_path)).replace(
        "{annot}", str(list_path.parent)
    )
    assert error_of(read_train, own_course_root) == expected


@pytest.mark.parametrize("value", [np.inf, 1e300])
def test_labels_that_are_no_numbers(own_course_root, value):
    poses = rewrite(own_course_root)["pose3d"].astype(np.float64)
    poses[3, 2, 1] = poses[7, 0, 0] = value
    rewrite(own_course_root, pose3d=poses)
    with np.errstate(over="ignore"):
        message = error_of(read_train, own_course_root)
    assert message == (
        f"{own_course_root}/annot/train.h5: 'pose3d' is infinite in 2 rows, the first is row 3 (line 4 of "
        "train_images.txt); take these images out"
    )


def test_labels_that_are_needed(own_course_root):
    (own_course_root / "annot/train.h5").unlink()
    assert error_of(read_train, own_course_root) == (
        f"{own_course_root}/annot/train.h5: there is no such file; "
        "it holds the labels of the images in train_images.txt"
    )


def test_labels_that_lie_elsewhere(own_course_root, tmp_path):
    path = own_course_root / "annot/train.h5"
    poses = rewrite(own_course_root)["pose3d"]
    (tmp_path / "raw").write_bytes(poses.tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["pose3d"] = poses

    def external(file):
        file.create_dataset("pose3d", poses.shape, "f4", external=[(str(tmp_path / "raw"), 0, poses.nbytes)])

    def virtual(file):
        layout = h5py.VirtualLayout(poses.shape, "f4")
        layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "pose3d", poses.shape)
        file.create_virtual_dataset("pose3d", layout)

    def external_link(file):
        file["pose3d"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "pose3d")

    def soft_link(file):
        file["pose3d"] = h5py.SoftLink("/pose2d")

    def group(file):
        file.create_group("pose3d")

    for make, message in (
        (external, "'pose3d' lies in another file, which is refused; copy it into this one"),
        (virtual, "'pose3d' lies in another file, which is refused; copy it into this one"),
        (external_link, "has no data set 'pose3d'; it has: pose2d, pose3d"),
        (soft_link, "has no data set 'pose3d'; it has: pose2d, pose3d"),
        (group, "has no data set 'pose3d'; it has: pose2d, pose3d"),
    ):
        rewrite(own_course_root, pose3d=None)
        with h5py.File(path, "a") as file:
            make(file)
        assert error_of(read_train, own_course_root) == f"{path}: {message}", make.__name__
        path.unlink()
        with h5py.File(path, "w") as file:
            file["pose2d"], file["pose3d"] = np.ones((10, 17, 2)), poses


def test_damaged_labels_are_data_errors_and_nothing_else(own_course_root):
    path = own_course_root / "annot/train.h5"
    whole = path.read_bytes()
    for length in (0, 7, 100, 1000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert error_of(read_train, own_course_root).startswith(f"{path}: is damaged, cut short or no HDF5 file (")
    rng, refused = np.random.default_rng(0), 0
    for _ in range(200):
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[rng.integers(0, 1500, 4)] = rng.integers(0, 256, 4)
        path.write_bytes(damaged.tobytes())
        try:
            read_train(own_course_root)
        except DataError as error:
            assert str(error).startswith(str(path))  # noqa: PT017 - not every damage is seen
            refused += 1
    assert refused > 50


def test_statistics_are_read_or_computed(own_course_root):
    poses = read_train(own_course_root).joints_camera_mm
    computed = read_statistics(own_course_root)
    np.testing.assert_allclose(computed.mean_mm, poses.mean(0), atol=1e-3)
    np.testing.assert_allclose(computed.std_mm, poses.std(0), atol=1e-3)
    assert (computed.std_mm[0] == 0).all()
    np.savetxt(own_course_root / "annot/mean.txt", computed.mean_mm + 0.5)
    np.savetxt(own_course_root / "annot/std.txt", (computed.std_mm + 2).reshape(1, 51), encoding="utf-16")
    stored = read_statistics(own_course_root)
    np.testing.assert_allclose(stored.mean_mm, computed.mean_mm + 0.5, rtol=1e-6)
    np.testing.assert_allclose(stored.std_mm, computed.std_mm + 2, rtol=1e-6)


def test_statistics_of_other_data_are_not_believed(own_course_root, capsys):
    computed = read_statistics(own_course_root)
    np.savetxt(own_course_root / "annot/mean.txt", computed.mean_mm / 1000)  # in metres
    np.savetxt(own_course_root / "annot/std.txt", computed.std_mm)
    np.testing.assert_array_equal(read_statistics(own_course_root).mean_mm, computed.mean_mm)
    assert "mm off the mean pose of train.h5, so it is of other data" in capsys.readouterr().err
    (own_course_root / "annot/train.h5").unlink()
    assert error_of(read_statistics, own_course_root).endswith("from the root; are these metres? Expected mm")


def test_poses_in_metres_are_refused_by_training_and_test(own_course_root):
    for split, read in (("train", read_train), ("valid", read_test)):
        path = own_course_root / f"annot/{split}.h5"
        with h5py.File(path, "r+") as file:
            file["pose3d"][...] /= 1000
        assert re.search(rf"^{path}: all bones together are .* are these metres", error_of(read, own_course_root))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3", "expected 51 finite numbers (joint by joint, x y z), found 3"),
        ("nan " * 51, "expected 51 finite numbers (joint by joint, x y z), found 51"),
        ("a b", "cannot be read as numbers: "),
    ],
)
def test_faults_of_the_statistics(own_course_root, text, message):
    for name in ("mean.txt", "std.txt"):
        (own_course_root / "annot" / name).write_text(text)
    assert error_of(read_statistics, own_course_root).startswith(f"{own_course_root}/annot/mean.txt: {message}")


def test_subjects_are_held_out(course_root):
    table = read_train(course_root)
    rest, held_out = split_by_subject(table, ["S8", "S1"])
    assert [rest.name(row).split("_")[0] for row in range(len(rest))] == ["S5", "S6", "S7"] * 2
    assert [held_out.name(row).split("_")[0] for row in range(len(held_out))] == ["S1", "S8"] * 2
    np.testing.assert_array_equal(held_out.joints_camera_mm[1], table.joints_camera_mm[4])
    np.testing.assert_array_equal(held_out.joints_crop_px[2], table.joints_crop_px[5])
    assert error_of(split_by_subject, table, ["S80"]) == (
        "data.val_subjects: no training image is of subject 'S80'; there are: S1, S5, S6, S7, S8"
    )
    message = error_of(split_by_subject, table, ["S1", "S5", "S6", "S7", "S8"])
    assert re.search(r"holds out every training image; leave some to learn from$", message)


def test_a_subject_is_not_one_whose_name_begins_like_it(own_course_root):
    listed = own_course_root / "annot" / "train_images.txt"
    for path in (own_course_root / "images").glob("S8_*"):
        path.rename(path.with_name(path.name.replace("S8_", "S11_")))
    listed.write_text(listed.read_text().replace("S8_", "S11_"))
    rest, held_out = split_by_subject(read_train(own_course_root), ["S1"])
    assert {held_out.name(row).split("_")[0] for row in range(len(held_out))} == {"S1"}
    assert {rest.name(row).split("_")[0] for row in range(len(rest))} == {"S5", "S6", "S7", "S11"}


@pytest.mark.parametrize(("limit", "rows"), [(None, range(10)), (20, range(10)), (1, [0]), (4, [0, 3, 6, 9])])
def test_evenly_spaced(course_root, limit, rows):
    table = read_train(course_root)
    found = evenly_spaced(table, limit)
    assert [found.name(i) for i in range(len(found))] == [table.name(row) for row in rows]


def test_statistics_belong_together(own_course_root):
    annot = own_course_root / "annot"
    (annot / "mean.txt").write_text("1 " * 51)
    with pytest.raises(DataError, match=r"mean\.txt: mean\.txt and std\.txt belong together, and the other is missing"):
        read_statistics(own_course_root)
    (annot / "std.txt").write_text("1 " * 50 + "-1")
    with pytest.raises(DataError, match=r"std\.txt: holds -1, but a standard deviation is 0 or more"):
        read_statistics(own_course_root)


def test_poses_with_y_up_are_refused_by_training_and_test_unless_said_to_be_right(own_course_root, capsys):
    for split, read in (("train", read_train), ("valid", read_test)):
        path = own_course_root / f"annot/{split}.h5"
        with h5py.File(path, "r+") as file:
            file["pose3d"][...] *= [1, -1, -1]
        assert error_of(read, own_course_root).startswith(f"{path}: the joints in px and in mm have not the same axes")
        assert read(own_course_root, label_axes="camera").has_labels
        assert "Used as they are, since data.label_axes is camera" in capsys.readouterr().err


def test_labels_are_read_where_the_file_system_has_no_locks(own_course_root, monkeypatch):
    class Unlockable(h5py.File):
        def __init__(self, *arguments, locking=None, **named):
            if locking is not False:
                raise OSError(errno.ENOLCK, "No locks available")
            super().__init__(*arguments, locking=locking, **named)

    monkeypatch.setattr(h5py, "File", Unlockable)
    assert len(read_train(own_course_root)) == 10


def test_accents_in_names_are_found_as_the_disk_spells_them(own_course_root):
    """A list written on Linux (one sign for e with its accent), pictures copied from macOS (two)."""
    path = own_course_root / "annot" / "train_images.txt"
    first, *others = path.read_text().splitlines()
    (own_course_root / "images" / first).rename(own_course_root / "images" / f"e\u0301_{first}")
    path.write_text("\n".join([f"\u00e9_{first}", *others]) + "\n")
    table = read_train(own_course_root)
    assert table.images.read(0) == (own_course_root / "images" / f"e\u0301_{first}").read_bytes()
    split = read_split(own_course_root, "train")
    assert split.encoded(0)[0] == table.images.read(0)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_as_windows_writes_them(encoding, own_course_root):
    path = own_course_root / "annot" / "train_images.txt"
    names = path.read_text().splitlines()
    (own_course_root / "images" / "S1").mkdir()
    (own_course_root / "images" / names[0]).rename(own_course_root / "images" / "S1" / names[0])
    path.write_bytes("\r\n".join([f"S1\\{names[0]}", *names[1:]]).encode(encoding))
    table = read_train(own_course_root)
    assert (table.name(0), table.name(1)) == (f"S1/{names[0]}", names[1])
    assert read_split(own_course_root, "train").names == [f"S1/{names[0]}", *names[1:]]
