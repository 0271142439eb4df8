"""Where a run trains: versions, machine, device; and what of it decides the bits."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from bncompare.config import RunConfig

PACKAGES = ("bncompare", "torch", "torchvision", "numpy")
# What the bits of a number depend on, beside the config and the plugins.
DECISIVE = ("bncompare", "torch", "machine", "cpu", "cpu_capability", "device_name", "stacked")


def environment(run: RunConfig, device: torch.device) -> dict[str, Any]:
    """Where a run trains: environment.json."""
    return {
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES}
        | run.plugins_here,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu": _cpu_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpus": os.cpu_count(),
        "threads": run.training.threads,
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }


def _cpu_name() -> str:
    """Kernels are chosen by the model of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def differences(made_on: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """`torch 2.4.0, here 2.5.1`: where two environments differ in what decides the bits."""
    versions = [*made_on.get("versions", {}), *here.get("versions", {})]
    plugins = [name for name in dict.fromkeys(versions) if name not in ("python", *PACKAGES)]
    pairs = [(name, _value(made_on, name), _value(here, name)) for name in (*DECISIVE, *plugins)]
    return [f"{name} {theirs}, here {ours}" for name, theirs, ours in pairs if theirs != ours]


def _value(environment: dict[str, Any], name: str) -> Any:
    return environment.get("versions", {}).get(name) or environment.get(name, "unknown")
