"""The hand: the parametric model that is fitted, posed and shipped, and the orders its joints are written in."""
