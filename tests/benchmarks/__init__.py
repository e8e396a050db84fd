"""Measured comparisons; run with `pytest tests/benchmarks --benchmark-only`."""
