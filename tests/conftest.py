"""What all tests share."""

import signal

from hypothesis import settings

settings.register_profile("palm", deadline=None)  # a busy machine is not a failing test
settings.load_profile("palm")
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # started in the background: what tests start and interrupt inherits it
    signal.signal(signal.SIGINT, signal.default_int_handler)
