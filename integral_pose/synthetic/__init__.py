"""Rendered people with exact labels, for who has no data set: `dataset` writes it in the on-disk format.

presets        how hard the pictures are, and sets with a name
shots          which pictures a set holds: person, action, camera
pose_parts     stances and gestures, that actions are put together from
actions        the fifteen actions of Human3.6M, and what they lack -> a pose, free of the body's size
body_model     bone lengths of seven people; body + pose -> joints (forward kinematics)
scene          pose, place on the floor and camera -> joints in the picture, crop
body_surface   posed body + clothes -> solids
ray_casting    solids -> depth and colour of every pixel
background     wall, floor and clutter
render         scene -> picture
"""
