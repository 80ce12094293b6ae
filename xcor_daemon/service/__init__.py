"""The daemon: one pass admits, reconciles and publishes."""
