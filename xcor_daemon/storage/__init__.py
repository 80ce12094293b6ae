"""Where state lives: the S3 bucket and the work folder."""
