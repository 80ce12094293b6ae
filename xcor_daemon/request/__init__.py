"""What a job asks for: CSV text to a checked, immutable request."""
