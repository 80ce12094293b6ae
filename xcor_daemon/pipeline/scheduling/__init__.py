"""Order of the units, the executors of a cluster, downloads ahead, and progress."""
