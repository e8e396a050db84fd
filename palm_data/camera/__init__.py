"""Cameras: the rig's Tsai model and ours, projection, undistortion, and turning portrait images."""
