"""How good labels are, and what a subject must satisfy before it may enter a release."""
