"""torchvision for the server that workers are forked from; one that is broken is told of by who needs it."""

import contextlib

with contextlib.suppress(Exception):
    import torchvision.datasets  # noqa: F401
