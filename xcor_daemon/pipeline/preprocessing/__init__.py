"""Samples of a channel to windows of ground motion."""
