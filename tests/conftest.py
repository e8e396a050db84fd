"""What all tests share."""

import signal

from hypothesis import settings

settings.register_profile("palm", deadline=None)  # a busy machine is not a failing test
settings.load_profile("palm")
# Started in the background, SIGINT is ignored, and so it would be in what tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
