"""The assets: each is one call into `palm_data`, writes through the workspace, and returns metadata."""
