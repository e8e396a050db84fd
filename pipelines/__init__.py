"""Dagster and the command line, and nothing else: each asset is a call into `palm_data` or `palm_model`."""
