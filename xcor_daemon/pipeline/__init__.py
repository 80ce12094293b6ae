"""From waveforms to correlations, stacks and images; imports neither S3, Docker nor click."""
