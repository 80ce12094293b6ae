"""What runs a job: a local process or a container."""
