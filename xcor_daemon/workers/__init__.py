"""Workers: a job runs in a local process or in a container."""
