"""Tests of `palm_data.report.papers`."""
