"""The commands with which operators run the service."""
