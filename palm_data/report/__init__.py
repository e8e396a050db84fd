"""Pictures that a person can judge."""
