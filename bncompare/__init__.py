"""Train a model with and without batch normalization (and other norms) and compare them honestly."""

__version__ = "0.1.0"
