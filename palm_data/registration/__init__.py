"""Fitting the hand model to a subject's captures: one folder of small terms and the two stages that use them."""
