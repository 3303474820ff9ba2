"""One HTML page about one or several runs, whole in itself: arrays and texts in, markup out."""
