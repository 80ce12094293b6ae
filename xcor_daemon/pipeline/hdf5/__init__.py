"""Correlations and stacks in HDF5 files."""
