"""Networks: the keypoint detector; the parts of the PALM-Net prior; metrics."""
