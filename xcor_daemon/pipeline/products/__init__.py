"""The products of a finished job: stacks, images, tables and the summary."""
