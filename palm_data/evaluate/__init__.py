"""The only reader of truth: figures of a simulated session, and of what was made from it, against what is known."""
