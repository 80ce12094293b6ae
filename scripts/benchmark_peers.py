"""Time the peers' own functions on windows that `benchmark.py` wrote; prints JSON.

Runs in an environment of its own, since NoisePy and MSNoise want older libraries than we do:
``python benchmark_peers.py WINDOWS.npy`` with float32 windows (n_channels, n_windows, n_samples) at
10 Hz. Each peer gets what it wants beforehand (spectra at full length) and is asked for lags up to
100 s of every window of one pair, as its users' runs ask.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import numpy as np

FS, MAXLAG = 10.0, 100.0  # Hz, s


def seconds(way: Callable[[], object], rounds: int = 5) -> float:
    """Median CPU seconds."""
    way()
    taken = []
    for _ in range(rounds):
        begin = time.process_time()
        way()
        taken.append(time.process_time() - begin)
    return statistics.median(taken)


def noisepy(windows: np.ndarray) -> float:
    """A pair-window by `noisepy.seis.noise_module.correlate`."""
    import scipy.fftpack
    from noisepy.seis.noise_module import correlate

    n_windows, n_samples = windows.shape[1:]
    n_fft = scipy.fftpack.next_fast_len(n_samples)
    spectra = scipy.fftpack.fft(windows[:2], n_fft, axis=-1)[..., : n_fft // 2]
    first, second = np.conj(spectra[0]), spectra[1]
    cc_len = n_samples / FS
    wanted = {"dt": 1 / FS, "maxlag": MAXLAG, "cc_len": cc_len, "substack": True,
              "substack_len": cc_len}  # fmt: skip
    starts = np.arange(n_windows) * cc_len
    return seconds(lambda: correlate(first, second, wanted, n_fft, starts)) / n_windows


def msnoise(windows: np.ndarray) -> float:
    """A pair-window by `msnoise.move2obspy.myCorr2`, which takes a window of all stations."""
    import scipy.fft
    from msnoise.move2obspy import myCorr2

    n_channels, n_windows, n_samples = windows.shape
    n_fft = scipy.fft.next_fast_len(n_samples)
    spectra = scipy.fft.fft(windows, n_fft, axis=-1)
    index = [[f"{i}:{j}", i, j] for i in range(n_channels) for j in range(i + 1, n_channels)]

    def correlate() -> None:
        for k in range(n_windows):
            myCorr2(spectra[:, k], int(MAXLAG * FS), None, index, nfft=n_fft)

    return seconds(correlate) / (n_windows * len(index))


PEERS = {"noisepy-seis": noisepy, "msnoise": msnoise}


def main() -> None:
    """Time every peer that is installed here."""
    windows = np.load(sys.argv[1], allow_pickle=False)
    found = {}
    for name, way in PEERS.items():
        try:
            found[f"{name} {version(name)}"] = way(windows)
        except (PackageNotFoundError, ImportError) as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
