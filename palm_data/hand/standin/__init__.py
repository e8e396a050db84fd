"""The builder of the shipped hand model: MakeHuman's CC0 body mesh in, a file with MANO's keys out.

In the order of work: `makehuman` (read), `cut` (the hand's mesh), `frame` (points and targets in the hand's frame),
`people` and `measures` (ANSUR II), `shapes` (the shape space), `regressor`, `grasps`, `skinning`, `correctives`, `build`.
"""
