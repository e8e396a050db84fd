"""Defects planted in a simulated session: each one known by name, recorded in truth, and of a known outcome."""
