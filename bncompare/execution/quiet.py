"""What libraries say is kept from stderr, in commands and in workers; a program that calls `train` has its own say."""

import logging
import os
import sys
import warnings


def silence_libraries() -> None:
    """What libraries warn of is for who works on this package, who sees it in its tests and with `python -W`."""
    logging.disable(logging.WARNING)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        os.environ.setdefault("PYTHONWARNINGS", "ignore")  # for the processes that are started here
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
