"""The keypoint detector: 21 joints of a hand in the crop around the projected scan, with sub-pixel place and confidence."""
