"""Where each value of a configuration came from: 'file:line', 'base file:line' or the command line."""

from integral_pose.config.strict_yaml import KeyPath

COMMAND_LINE = "command line"
DEFAULT = "default"

Origins = dict[KeyPath, str]  # also of sections and list entries


def origin_of(path: KeyPath, origins: Origins) -> str:
    """The command line where it changed an entry of a list, else where the key itself was set."""
    if any(key[: len(path)] == path and origin == COMMAND_LINE for key, origin in origins.items()):
        return COMMAND_LINE
    return origins.get(path, DEFAULT)


def nearest_origin(path: KeyPath, origins: Origins) -> str | None:
    """As `origin_of`; for a key that was not set, that of the section that it is missing in."""
    for length in range(len(path), 0, -1):
        if (origin := origin_of(path[:length], origins)) != DEFAULT:
            return origin
    return None


def forget(origins: Origins, path: KeyPath) -> None:
    """Drop what is known of a key and of everything in it."""
    for key in [key for key in origins if key[: len(path)] == path]:
        del origins[key]
