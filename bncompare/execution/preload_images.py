"""torchvision for the server that workers are forked from; one that cannot be imported is told of where images load."""

import contextlib

with contextlib.suppress(Exception):
    import torchvision.datasets  # noqa: F401
