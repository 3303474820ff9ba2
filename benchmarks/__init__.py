"""What makes the pages of results in docs/: run from the root of the repository, not installed with the package."""
