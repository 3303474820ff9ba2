"""From photographs and videos to the poses in them, by a trained network."""
