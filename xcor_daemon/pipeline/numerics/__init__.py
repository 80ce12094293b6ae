"""Fourier transforms, compiled functions, runs of consecutive integers."""
