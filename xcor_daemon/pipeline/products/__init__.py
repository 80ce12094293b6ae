"""What a finished job hands over: stacks, images, tables, the summary."""
