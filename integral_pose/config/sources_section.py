"""The entries of `data.sources`: data sets that share every batch."""

from __future__ import annotations

from collections.abc import Sequence

from integral_pose.config.section import Section
from integral_pose.config.value_types import FilePath, Positive, PositiveFloat


class SourceConfig(Section):
    """One data set of a mixed training."""

    root: FilePath
    images: Positive  # of it in each batch, over all processes and accumulation steps together
    weight: PositiveFloat = 1.0  # of its loss in the sum over sources


def why_sources_do_not_fit(sources: Sequence[SourceConfig], batch_size: int, parts: int) -> str | None:
    """What is wrong with data.sources, and what to change; None: nothing. `parts` are trainer.accumulation_steps."""
    if not sources:
        return None
    if (total := sum(source.images for source in sources)) != batch_size:
        numbers = " + ".join(str(source.images) for source in sources)
        return f"data.sources have {numbers} images a batch, but trainer.batch_size is {batch_size}; set it to {total}"
    for i, source in enumerate(sources):
        if source.images % parts:
            return (
                f"data.sources.{i}.images is {source.images}, which trainer.accumulation_steps {parts} does not "
                "divide; each of them takes an equal share of every source"
            )
    return None
