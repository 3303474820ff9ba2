"""Every parser on damaged files: cut, bytes changed, stretches doubled, and on noise. `scripts/fuzz.py` does more."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz_targets import TARGETS, refuses_or_reads

NUMBERS = st.integers(0, 1 << 16)
CHANGES = st.lists(
    st.tuples(st.sampled_from(["cut", "set", "double", "drop"]), NUMBERS, st.integers(0, 255)), max_size=5
)


def damaged(content: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    for kind, where, value in changes:
        at = where % max(len(content), 1)
        if kind == "cut":
            content = content[:at]
        elif kind == "set":
            content = content[:at] + bytes([value]) + content[at + 1 :]
        elif kind == "double":
            content = content[: at + value] + content[at:]
        else:
            content = content[:at] + content[at + value :]
    return content


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60)
@given(changes=CHANGES, noise=st.none() | st.binary(max_size=200))
def test_no_damage_leads_to_another_error_than_ours(
    name: str, changes: list[tuple[str, int, int]], noise: bytes | None
) -> None:
    refuses_or_reads(name, damaged(TARGETS[name].seed(), changes) if noise is None else noise)


@pytest.mark.parametrize("name", TARGETS)
def test_the_seed_itself_is_read(name: str) -> None:
    TARGETS[name].read(TARGETS[name].seed())


def test_an_uncaught_error_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = TARGETS["json"]._replace(read=lambda content: content[10**6])
    monkeypatch.setitem(TARGETS, "json", broken)
    with pytest.raises(IndexError):
        refuses_or_reads("json", b"{}")
