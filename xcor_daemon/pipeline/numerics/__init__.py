"""Fourier transforms, compiled functions, runs of integers."""
