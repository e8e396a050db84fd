"""One person's hand from a photograph or a few, by a trained prior; and that hand in other poses and another light."""
