"""Networks: keypoint detector, PALM-Net prior, personalisation, relighting, metrics, baselines."""
