"""From waveforms to correlations, stacks and images; knows no S3, no Docker and no command line."""

import os

# Each worker computes on its own core: threads inside BLAS or MKL would only fight over the
# cores, and how MKL splits its work among them changes the last digits of its results. Libraries
# read these when they are loaded, so they are set before anything here imports numpy.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
