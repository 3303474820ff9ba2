"""Processes for tests that kill them: a server imports torch once and forks a process a request, in some 10 ms.

A process runs a command of integral-pose, or a function 'module:name' with the arguments. It has its own process group,
its output goes to a file, and its backbone is the small one of the tests.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

REPOSITORY = Path(__file__).parent.parent


class ForkServer:
    """The client; a context manager that leaves no process behind."""

    def __init__(self, preload: Path | None = None) -> None:
        """`preload` is a library for all of its processes, the one of tests/torture/recorded_writes.py."""
        self.records_writes = preload is not None
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        if preload:
            environment["LD_PRELOAD"] = str(preload)
        self._server = subprocess.Popen([sys.executable, "-m", "tests.fork_server"], cwd=REPOSITORY, env=environment,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
        self._started: list[Forked] = []

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._started:
            process.end()
        # Closing its input is not enough: processes forked since hold it open too.
        self._server.kill()
        self._server.wait()

    def start(
        self,
        arguments: Sequence[str],
        *,
        said: Path,
        call: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Forked:
        """Start a process; its output goes to the file `said`."""
        request = {"arguments": list(arguments), "said": str(said), "call": call, "environment": environment or {}}
        process = Forked(self, int(self.ask(request)), said)
        self._started.append(process)
        return process

    def start_two(self, arguments: Sequence[str], folder: Path, call: str | None = None) -> list[Forked]:
        """Two processes of one distributed run, as torchrun starts them."""
        port = free_port()
        return [
            self.start(arguments, said=folder / f"{port}.{rank}", call=call, environment=environment_of(rank, port))
            for rank in range(2)
        ]

    def ask(self, request: Mapping[str, Any]) -> Any:
        """Send one request, return the answer."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())


class Forked:
    """A process that the server forked."""

    def __init__(self, server: ForkServer, pid: int, said: Path) -> None:
        self._server, self.pid, self._said = server, pid, said
        self.exit_code: int | None = None

    @property
    def said(self) -> str:
        """Its output so far."""
        return self._said.read_text("utf-8", "replace") if self._said.exists() else ""

    def poll(self) -> int | None:
        """Its exit code, the negative signal number if a signal ended it; None while it runs."""
        if self.exit_code is None:
            self.exit_code = self._server.ask({"poll": self.pid})
        return self.exit_code

    def wait(self, timeout_s: float = 60) -> int:
        """Its exit code once it has ended."""
        self.wait_until(lambda: self.poll() is not None, timeout_s)
        assert self.exit_code is not None
        return self.exit_code

    def wait_until(self, condition: Callable[[], bool], timeout_s: float = 60) -> None:
        """Return once the condition holds."""
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, f"not within {timeout_s} s; its output: {self.said[-2000:]}"
            time.sleep(0.005)

    def wait_alive_until(self, condition: Callable[[], bool], timeout_s: float = 60) -> None:
        """As `wait_until`, for a process that must not end before."""
        self.wait_until(lambda: condition() or self.poll() is not None, timeout_s)
        assert self.exit_code is None, f"it ended by itself with {self.exit_code}: {self.said[-2000:]}"

    def send(self, number: int, *, group: bool = False) -> None:
        """Send a signal to it, or to its whole group."""
        (os.killpg if group else os.kill)(self.pid, number)

    def group(self) -> list[int]:
        """Running processes of its group."""
        return [pid for pid in processes() if pid != self.pid and _group_of(pid) == self.pid]

    def end(self) -> None:
        """Kill it and its group, whatever still runs."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        if self.exit_code is None:
            self.wait()


def environment_of(rank: int, port: int) -> dict[str, str]:
    """The environment that torchrun gives one of two processes."""
    return {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port)}  # fmt: skip


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def processes() -> list[int]:
    """Ids of all running processes; zombies are left out."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and _state(path) not in "ZX"]


def children(pid: int) -> list[int]:
    """Running children of a process."""
    return [other for other in processes() if _field(other, 1) == str(pid)]


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _state(path: Path) -> str:
    return _field(int(path.name), 0) or "X"


def _field(pid: int, number: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[number]
    except (FileNotFoundError, ProcessLookupError):
        return None


def _serve() -> dict[str, Any] | None:
    """Answer until the input ends; in a forked process, return its request."""
    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                return dict(request)
            os.setpgid(answer, answer)  # here too, so that it is done before the client is answered
        print(json.dumps(answer), flush=True)
    return None


def _run(request: dict[str, Any]) -> int:
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has these two ignored by what `&` starts
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    with Path(request["said"]).open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(request["environment"])
    if request["call"]:
        module, name = request["call"].split(":")
        result: int | None = getattr(importlib.import_module(module), name)(request["arguments"])
        return result or 0
    return cli.main(request["arguments"])


if __name__ == "__main__":
    import integral_pose.models.pose_net
    from integral_pose import experiment  # noqa: F401 - torch and all of ours, once
    from integral_pose.cli import main as cli
    from tests.conftest import TinyFeatures

    integral_pose.models.pose_net.build_backbone = TinyFeatures  # type: ignore[misc,assignment]
    work = _serve()
    if work is not None:
        sys.exit(_run(work))
