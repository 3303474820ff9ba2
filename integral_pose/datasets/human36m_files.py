"""Where the parts of Human3.6M's official download lie: tgz archives or what they hold, in either known layout.

official   S1/MyPoseFeatures/D3_Positions_mono/Directions 1.54138969.cdf, S1/Videos/Directions 1.54138969.mp4
h36m-fetch S1/Poses_D3_Positions_mono/Directions 1.54138969.cdf, S1/Videos/Directions 1.54138969.mp4
archives   Poses_D3_Positions_mono_S1.tgz, Videos_S1.tgz; or s1/D3_Positions_mono.tgz, s1/Videos.tgz
"""

import re
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from integral_pose.errors import DataError
from integral_pose.io.untrusted import require_no_bomb

KINDS = ("D2_Positions", "D3_Positions_mono", "Videos")
OPTIONAL_KINDS = ("D2_Positions",)  # the cameras give the same numbers to 1e-4 px
_SUFFIX = {"Videos": ".mp4", "D2_Positions": ".cdf", "D3_Positions_mono": ".cdf"}


class Item(NamedTuple):
    """One file of the download, whatever folder or archive it lies in."""

    subject: str
    kind: str
    base: str  # "Directions 1"
    camera_id: str

    @property
    def file_name(self) -> str:
        """As in the official download."""
        return f"{self.base}.{self.camera_id}{_SUFFIX[self.kind]}"


@dataclass
class Download:
    """What a folder holds of the official download."""

    folder: Path
    files: dict[Item, Path] = field(default_factory=dict)
    archives: dict[tuple[str, str], Path] = field(default_factory=dict)  # (subject, kind)
    metadata: Path | None = None

    def archives_for(self, subjects: Iterable[str]) -> list[tuple[str, str]]:
        """(subject, kind) that have to be unpacked, since nothing of them lies unpacked already.

        Raises DataError where a subject's poses or videos are in neither form.
        """
        unpacked = {(item.subject, item.kind) for item in self.files}
        wanted = []
        for subject in subjects:
            for kind in KINDS:
                if (subject, kind) in unpacked:
                    continue
                if (subject, kind) in self.archives:
                    wanted.append((subject, kind))
                elif kind not in OPTIONAL_KINDS:
                    raise self._missing(subject, kind)
        return wanted

    def _missing(self, subject: str, kind: str) -> DataError:
        if next(self.folder.rglob("annot.h5"), None) and next(self.folder.rglob("imageSequence"), None):
            return DataError(
                f"{self.folder}: is what h36m-fetch makes of the download (annot.h5 and imageSequence/), which is not "
                "read; give the folder that it downloaded or extracted, with the .cdf and .mp4 files"
            )
        prefix = "" if kind == "Videos" else "Poses_"
        return DataError(
            f"{self.folder}: has no {kind} of {subject}: neither {prefix}{kind}_{subject}.tgz nor {_SUFFIX[kind]} "
            f"files in {subject}/.../{kind}/. Fetch it, or leave the subject out with --subjects"
        )


def look_through(folder: Path) -> Download:
    """Find everything that is known in a folder, at any depth."""
    found = Download(folder)
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in (".cdf", ".mp4"):
            item = _item(path.relative_to(folder).parts)
            if item is not None:
                found.files[item] = path
        elif path.name.lower().endswith((".tgz", ".tar.gz")):
            archive = _archive(path.relative_to(folder).parts)
            if archive is not None:
                found.archives[archive] = path
        elif path.name == "metadata.xml":
            found.metadata = path
    return found


def unpack(archive: Path, subject: str, kind: str, wanted: Sequence[str], target: Path) -> None:
    """Unpack the files named in `wanted` ('Directions 1.54138969.mp4') into `target`, which appears whole.

    The paths in the archive are not followed; only the last part of a name counts. Raises DataError naming the
    archive if it is cut short or damaged.
    """
    if target.exists():
        return
    unfinished = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        with tarfile.open(archive, "r|gz") as content:
            for member in content:
                item = _item((subject, kind, *PurePosixPath(member.name).parts[-1:]))
                if item is None or item.file_name not in wanted or not member.isfile():
                    continue
                require_no_bomb(member.size, archive.stat().st_size, f"{archive}: {member.name!r}")
                stream = content.extractfile(member)
                assert stream is not None, "a regular member has content"
                with (unfinished / item.file_name).open("wb") as file:
                    shutil.copyfileobj(stream, file, 1 << 20)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        with archive.open("rb") as file:
            is_page = file.read(100).lstrip().startswith(b"<")
        what = "is a web page, as comes where nobody is logged in" if is_page else f"is cut short or damaged ({error})"
        raise DataError(f"{archive}: {what}; fetch it again") from None
    unfinished.replace(target)


_FILE_NAME = re.compile(r"(?P<base>[A-Za-z]+(?:[ _]\d+)?)\.(?P<camera>\d{8})\.(?:cdf|mp4)", re.ASCII | re.IGNORECASE)
_ARCHIVE_NAME = re.compile(
    r"(?:Poses_)?(?P<kind>D2_Positions|D3_Positions_mono|Videos)(?:_(?P<subject>S\d+))?(?: ?\(\d+\))?\.(?:tgz|tar\.gz)",
    re.ASCII | re.IGNORECASE,
)


def _item(parts: Sequence[str]) -> Item | None:
    """A path's meaning; None for files that are not used, such as `_ALL 1.54138969.mp4` or the world poses."""
    match = _FILE_NAME.fullmatch(parts[-1])
    subject = _subject(parts[:-1])
    folders = {part.removeprefix("Poses_") for part in parts[:-1]}
    kinds = [kind for kind in KINDS if kind in folders and _SUFFIX[kind] == PurePosixPath(parts[-1]).suffix.lower()]
    if match is None or subject is None or not kinds:
        return None
    return Item(subject, kinds[0], match["base"].replace("_", " "), match["camera"])


def _archive(parts: Sequence[str]) -> tuple[str, str] | None:
    match = _ARCHIVE_NAME.fullmatch(parts[-1])
    if match is None:
        return None
    subject = _subject([match["subject"]]) if match["subject"] else _subject(parts[:-1])
    kind = next(kind for kind in KINDS if kind.lower() == match["kind"].lower())
    return (subject, kind) if subject else None


def _subject(folders: Sequence[str]) -> str | None:
    """The last folder that is called like a subject, S1 or s1."""
    return next((f"S{int(name[1:])}" for name in reversed(folders) if re.fullmatch(r"[sS]\d{1,2}", name)), None)
