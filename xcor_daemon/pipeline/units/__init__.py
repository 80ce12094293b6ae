"""One unit of work, from source to file."""
