"""Opening a release: lazy, typed access by subject, capture and view; every byte read is verified."""
