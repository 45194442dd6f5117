"""Helpers that the notebooks of the relation-extraction study share."""

__version__ = "0.1.0"
