"""Lines for whoever watches a run."""

import sys

from tqdm import tqdm


def notify(text: str) -> None:
    """Print to stderr, above a progress bar where there is one."""
    tqdm.write(text, file=sys.stderr)
