"""Everything that writes the on-disk format: the embedded synthetic data set, and converters."""
