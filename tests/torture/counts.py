"""The table of a torture: how often something was tried and how often it held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_FAULTS_SHOWN = 20


@dataclass
class Count:
    """One row: `done` trials, of which `faults` did not end as expected."""

    what: str
    done: int = 0
    faults: list[str] = field(default_factory=list)
    untried: str = ""  # why there is no trial

    def check(self, holds: bool, fault: str) -> None:
        """Count a trial, and its fault if it does not hold."""
        self.done += 1
        if not holds:
            self.faults.append(fault)

    def row(self) -> dict[str, Any]:
        """The row as plain values."""
        verdict = "held" if self.done and not self.faults else "FAILED" if self.faults else "not tried"
        return {
            "what": self.what,
            "expected": self.done,
            "found": self.done - len(self.faults),
            "verdict": verdict,
            "faults": self.faults[:MOST_FAULTS_SHOWN] or [self.untried] * bool(self.untried),
        }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The figures as Markdown, and below it what did not hold."""
    lines = ["| what | tried | held |", "|---|---|---|"]
    lines += [f"| {row['what']} | {row['expected'] or 'not tried'} | {row['found']} |" for row in rows]
    lines += [f"\n{row['verdict']}: {row['what']}: {fault}" for row in rows for fault in row["faults"]]
    return "\n".join(lines)
