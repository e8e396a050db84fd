"""What all tests share."""

from hypothesis import settings

settings.register_profile("palm", deadline=None)  # a busy machine is not a failing test
settings.load_profile("palm")
