"""Measurements on stacks."""
