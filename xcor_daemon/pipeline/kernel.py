"""The inner loops of the engine: block spectra laid out for the processor, and their products.

Layout of block spectra: (chunk, channel, block, re/im, LANE). A chunk holds LANE neighbouring
frequencies, so one product over blocks streams through contiguous memory.
"""

from __future__ import annotations

import numba
import numpy as np

LANE = 64


def n_chunks(n_fft: int) -> int:
    """Chunks that the n_fft // 2 + 1 frequencies of a block fill."""
    return -(-(n_fft // 2 + 1) // LANE)


def empty_spectra(n_channels: int, n_blocks: int, n_fft: int) -> np.ndarray:
    """Room for the block spectra of all channels of one window."""
    return np.zeros((n_chunks(n_fft), n_channels, n_blocks, 2, LANE), dtype=np.float32)


def spectra_bytes(n_channels: int, n_blocks: int, n_fft: int) -> int:
    """What `empty_spectra` takes."""
    return n_chunks(n_fft) * n_channels * n_blocks * 2 * LANE * 4


@numba.njit(nogil=True, cache=True)
def store_spectra(
    spectra: np.ndarray, places: np.ndarray, n_each: int, channel: int, out: np.ndarray
) -> None:
    """Put block spectra (n, n_frequencies) of a channel where the products read them.

    ``places`` are the windows that they belong to, each of ``n_each`` blocks.
    """
    n_frequencies = spectra.shape[1]
    for c in range(out.shape[0]):
        base = c * LANE
        for k in range(spectra.shape[0]):
            b = places[k // n_each] * n_each + k % n_each
            for q in range(min(LANE, n_frequencies - base)):
                z = spectra[k, base + q]
                out[c, channel, b, 0, q] = z.real
                out[c, channel, b, 1, q] = z.imag


@numba.njit(nogil=True, cache=True, fastmath=True)
def multiply_tile(
    first: np.ndarray, second: np.ndarray, i0: int, n_i: int, j0: int, n_j: int, out: np.ndarray
) -> None:
    """Sum over blocks of conj(first_i) second_j for a tile of pairs.

    ``out[i * n_j + j]`` is the cross-spectrum of channels i0 + i and j0 + j; where
    j0 + j + 1 < i0 + i (pairs that nobody asks for) it is left as it was.
    """
    n_blocks = first.shape[2]
    re = np.empty((4, LANE), np.float32)
    im = np.empty((4, LANE), np.float32)
    for c in range(first.shape[0]):
        for i in range(0, n_i, 2):
            i1 = min(i + 1, n_i - 1)
            for j in range(0, n_j, 2):
                j1 = min(j + 1, n_j - 1)
                if j0 + j1 < i0 + i:
                    continue
                re[:] = 0
                im[:] = 0
                for b in range(n_blocks):
                    x0, x1 = first[c, i0 + i, b], first[c, i0 + i1, b]
                    y0, y1 = second[c, j0 + j, b], second[c, j0 + j1, b]
                    for q in range(LANE):
                        a, d, e, f = x0[0, q], x0[1, q], x1[0, q], x1[1, q]
                        g, h, s, t = y0[0, q], y0[1, q], y1[0, q], y1[1, q]
                        re[0, q] += a * g + d * h
                        im[0, q] += a * h - d * g
                        re[1, q] += a * s + d * t
                        im[1, q] += a * t - d * s
                        re[2, q] += e * g + f * h
                        im[2, q] += e * h - f * g
                        re[3, q] += e * s + f * t
                        im[3, q] += e * t - f * s
                base = c * LANE
                for q in range(LANE):
                    out[i1 * n_j + j1, base + q] = complex(re[3, q], im[3, q])
                    out[i1 * n_j + j, base + q] = complex(re[2, q], im[2, q])
                    out[i * n_j + j1, base + q] = complex(re[1, q], im[1, q])
                    out[i * n_j + j, base + q] = complex(re[0, q], im[0, q])
