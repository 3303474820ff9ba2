"""What several commands share: adding one to the parser, types of arguments, `key=value` among paths."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from integral_pose.errors import ConfigError
from integral_pose.io.notices import notify

OVERRIDE_HELP = "changes to the configuration, for example trainer.batch_size=64 stages.0.epochs=3"
DEVICES = ("auto", "cpu", "cuda")


def add_command(
    commands: Any, name: str, text: str, run: Callable[[argparse.Namespace], int | None], more: str = ""
) -> argparse.ArgumentParser:
    """A command that calls `run`, on what `add_subparsers` returned; `more` names its list of positional arguments."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.set_defaults(run=run, more=more)
    return parser


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options, wherever they stand between the positional arguments.

    argparse ends a list of positional arguments where an option follows, and its `parse_intermixed_args` refuses
    sub-commands. So what it leaves over goes to the list that the command named as its `more`.
    """
    options, left = parser.parse_known_args(arguments)
    more = getattr(options, "more", "")
    if left and (not more or any(text.startswith("-") for text in left)):
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    if left:
        setattr(options, more, [*getattr(options, more), *left])
    return options


def file_path(text: str) -> Path:
    """The type of options that name a file or folder: a shell leaves the `~` of `--out=~/x` as it is."""
    return Path(text).expanduser()


def require_other_file(option: str, out: Path | None, *inputs: Path | None) -> None:
    """Raise ConfigError where a result would take the place of what it is made of."""
    read = {path.resolve() for path in inputs if path is not None}
    if out is not None and out.resolve() in read:
        raise ConfigError(f"{option} {out}: is what is read here and would be lost; name another file")


def notice_replaced(path: Path) -> None:
    """Say that a file is there which is about to be replaced."""
    if path.exists():
        notify(f"{path}: is replaced")


def split_overrides(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Paths and `key=value` from one list; what exists is a path."""
    overrides = [text for text in arguments if "=" in text and not Path(text).exists()]
    return [file_path(text) for text in arguments if text not in overrides], overrides
