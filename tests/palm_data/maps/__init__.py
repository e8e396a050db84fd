"""Tests of `palm_data.maps`."""
