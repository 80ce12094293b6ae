"""Preprocessing: samples of a channel -> windows of ground motion, normalised."""
