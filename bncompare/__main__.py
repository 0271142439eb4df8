"""The entry point: `bncompare` and `python -m bncompare`."""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # First of all: Ctrl-C in the middle of an import would be a traceback. Training has a handler of its own.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from bncompare.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
