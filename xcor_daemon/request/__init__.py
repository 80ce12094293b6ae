"""The request of a job: CSV text -> a checked, immutable object."""
