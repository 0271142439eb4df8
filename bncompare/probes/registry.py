"""Every probe: those of this package, each in a module of its own, and those of others."""

import importlib
import pkgutil

from bncompare import probes
from bncompare.plugins import Registry
from bncompare.probes.base import Probe

for _module in pkgutil.iter_modules(probes.__path__):
    if _module.name not in ("subject", "registry"):  # the first imports torch
        importlib.import_module(f"{probes.__name__}.{_module.name}")


_by_key = Registry[type[Probe]]("probes", Probe, None)
for _probe in Probe.__subclasses__():
    if _probe.__module__.startswith(f"{probes.__name__}."):
        _by_key.add(_probe)

PROBES: list[type[Probe]] = sorted(dict.fromkeys(_by_key.values()), key=lambda probe: probe.order)
"""every probe, in the order of its rows in diagnostics.csv"""
