"""From waveforms to correlations, stacks and images; knows no S3, no Docker and no command line."""
