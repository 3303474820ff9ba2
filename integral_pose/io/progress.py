"""How far a long piece of work is: a bar in a terminal, elsewhere a line now and then."""

import sys
import time
from types import TracebackType
from typing import NoReturn

from tqdm import tqdm

from integral_pose.io.notices import notify

LINE_EVERY_S = 30.0  # where no terminal is; work that takes less says nothing
LONG_NUMBER = 100_000  # a bar shortens numbers of that size to 1.23M, so that it fits into 80 columns


class ProgressDisplay:
    """Counts what is done of `total` (None: not known) and shows it on stderr, with the speed and the time left.

    `title` stands before the figures and `note` behind them; both can be changed.
    """

    def __init__(self, total: int | None, unit: str, title: str, *, done: int = 0, show: bool = True) -> None:
        self.title, self.note = title, ""
        self._total, self._unit, self._done, self._done_before = total, unit, done, done
        self._began = self._shown = time.monotonic()
        self._shows = show
        self._bar = self._new_bar() if show and sys.stderr.isatty() else None

    def __enter__(self) -> "ProgressDisplay":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def add(self, count: int = 1) -> None:
        """`count` more are done."""
        self._done += count
        if self._bar is not None:
            self._bar.desc, self._bar.postfix = self.title, self.note
            self._bar.update(count)
        elif self._shows and count and (now := time.monotonic()) - self._shown >= LINE_EVERY_S:
            self._shown = now
            notify(self._line(now - self._began))

    def _line(self, seconds: float) -> str:
        per_s = (self._done - self._done_before) / seconds
        parts = [f"{self._done:,} {self._unit}", f"{per_s:,.3g}/s"]
        if self._total is not None:
            parts[0] = f"{self._done:,}/{self._total:,} {self._unit}"
            parts.append(f"{tqdm.format_interval(max(0, self._total - self._done) / per_s)} left")
        return f"{self.title}: {', '.join([*parts, *([self.note] if self.note else [])])}"

    def _new_bar(self) -> "tqdm[NoReturn]":
        counted = "{n_fmt} " if self._total is None else "{n_fmt}/{total_fmt} "
        speed = "{rate_noinv_fmt}" if self._total is None else "|{bar}| {rate_noinv_fmt}, {remaining} left"
        return tqdm(
            total=self._total,
            initial=self._done,
            desc=self.title,
            unit="",
            unit_scale=max(self._total or 0, self._done) >= LONG_NUMBER,
            bar_format=f"{{desc}}: {counted}{self._unit} {speed}{{postfix}}",
            dynamic_ncols=True,
            mininterval=0.5,
            leave=None,  # but for a bar within another
        )
