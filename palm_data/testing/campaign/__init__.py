"""The proof of integrity: every promise of the store, tried many times with seeded faults (`make faults`)."""
