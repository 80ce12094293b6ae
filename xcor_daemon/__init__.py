"""Ambient-noise cross-correlation of every station pair, from a page to Green's functions."""

__version__ = "0.1.0"
