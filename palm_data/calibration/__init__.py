"""Calibrations: imported from the rig's files, and verified against the images."""
