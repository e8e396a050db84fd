"""Detections in several calibrated views → points in space, with their uncertainty; missing rather than guessed."""
