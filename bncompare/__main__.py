"""The entry point: `bncompare` and `python -m bncompare`."""

import atexit
import gc
import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # First of all: Ctrl-C in the middle of an import would be a traceback. Training has a handler of its own.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from bncompare.cli import main

__all__ = ["main"]

# A short command is mostly imports, in which there is no garbage to look for; nor is there a need to at the end.
gc.set_threshold(10_000)
atexit.register(gc.freeze)

if __name__ == "__main__":
    main()
