"""PALM-Net: one network of shape, colour and material for all people's hands, learned from a release."""
