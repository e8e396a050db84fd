"""What a subject must satisfy before it may enter a release."""
