"""What people and catalogues read about a version: card, datasheet, Croissant, changes, and the page of its figures."""
