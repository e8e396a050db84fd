"""Maps of the scan in every colour view: mask, metric depth and normals."""
