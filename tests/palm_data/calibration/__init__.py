"""Tests of `palm_data.calibration`."""
