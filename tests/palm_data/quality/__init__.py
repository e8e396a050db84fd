"""Tests of `palm_data.quality`."""
