"""Windows of all channels to correlations of all pairs."""
