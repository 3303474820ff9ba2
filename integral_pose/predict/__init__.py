"""From a photograph or a video to the poses in it, with a trained network."""
