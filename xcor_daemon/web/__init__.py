"""The page, and how a job is sent."""
