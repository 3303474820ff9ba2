"""From a photograph or a video to poses in it: the front door for a network that is trained."""
