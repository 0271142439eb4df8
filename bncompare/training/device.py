"""Where a run is trained."""

import torch

from bncompare.errors import UserError


def resolve_device(name: str) -> torch.device:
    """The device a config or --device names; raises UserError if this machine has none."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name.partition(":")[0])
    # The number is read off the text: torch keeps it in a byte, where 256 is 0.
    if device.type == "cuda" and int(name.partition(":")[2] or 0) >= torch.cuda.device_count():
        found = f"{torch.cuda.device_count()} CUDA devices" if torch.cuda.is_available() else "no CUDA device"
        raise UserError(f"device {name}: this machine has {found}; use auto or cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("device mps: this machine has no MPS device; use auto or cpu")
    return torch.device(name)
