"""A 3dMD rig and the people in it, simulated: raw sessions exactly as a rig delivers them, with their truth apart."""
