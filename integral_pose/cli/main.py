"""`integral-pose`: assembles the parser, runs a command, turns errors into exit statuses.

Heavy packages are imported inside the commands that need them, so that --help and a misspelt key cost no wait.
"""

import argparse
import errno
import importlib.util
import os
import warnings
from collections.abc import Sequence

from integral_pose import __version__
from integral_pose.cli.arguments import parse
from integral_pose.cli.bench_commands import add_bench
from integral_pose.cli.predict_command import add_predict
from integral_pose.cli.prepare import add_check, add_prepare
from integral_pose.cli.score_commands import add_report, add_score, add_test
from integral_pose.cli.train_commands import add_config, add_doctor, add_processes, add_status, add_train
from integral_pose.cli.weights_commands import add_model_commands
from integral_pose.errors import IntegralPoseError, OutputError
from integral_pose.io.notices import flush_output, give_up_lost_output, notify, open_closed_streams, unfailing_stderr
from integral_pose.runs.stop import Signalled, signals_as_errors

ADVICE = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room within the quota",
    errno.EMFILE: "allow more open files (ulimit -n 1024), or take fewer data.workers",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: "mend its rights, or choose another place",
    errno.ENOTEMPTY: "another program has just written there; look at it, or choose another place",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    return run_command(build_parser(), arguments)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(prog="integral-pose", description="3D human pose by integral regression.")
    parser.add_argument("--version", action="version", version=f"integral-pose {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        add_prepare, add_check, add_train, add_status, add_test, add_score, add_model_commands, add_report, add_predict,
        add_bench, add_doctor, add_config, add_processes,
    ):  # fmt: skip
        add(commands)
    return parser


def run_command(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    """Parse, call what the command set as `run`, and return the exit status."""
    if importlib.util.find_spec("fcntl") is None:
        notify(f"{parser.prog}: needs Linux or macOS; on Windows run it inside WSL")
        return 2
    open_closed_streams()
    options = parse(parser, arguments)
    try:
        with (
            unfailing_stderr(),
            signals_as_errors(),
            warnings.catch_warnings(),
        ):  # a command may print warnings its own way
            status: int = options.run(options) or 0
            flush_output()
    except (IntegralPoseError, Signalled) as error:
        notify(f"{parser.prog} {options.command}: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        notify(f"{parser.prog} {options.command}: stopped")
        return 130
    except OSError as error:  # of the machine: disk, rights, limits
        give_up_lost_output()
        if not isinstance(error, BrokenPipeError):  # `| head` has seen enough
            notify(f"{parser.prog} {options.command}: {explained(error)}")
        return OutputError.exit_code
    return status


def explained(error: OSError) -> str:
    """A fault of the machine in words: where, what, and what to do."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    where = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    return ". ".join(part for part in (f"{where}: {reason}" if where else reason, ADVICE.get(error.errno or 0)) if part)
