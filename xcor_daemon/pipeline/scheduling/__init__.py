"""Which unit comes next, where it runs, and how far the job is."""
