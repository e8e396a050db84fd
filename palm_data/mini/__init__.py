"""A small release made from a release: one person of each split, a few captures; what to try things with first."""
