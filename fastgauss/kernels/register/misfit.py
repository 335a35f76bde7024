"""What is left between two registered images, block by block, and what their noise leaves there.

The noise of a pixel is told by its second difference along both axes, which takes planes, edges
along an axis, and most of a smooth scene away, and of white noise keeps 36 times the variance.
"""

from __future__ import annotations

import numpy as np

from .._compile import device, kernel

KEPT = 36.0  # of the variance of white noise, in a second difference along both axes


@device
def _second_difference(image, y, x):
    left = (image[y - 1, x - 1] + image[y + 1, x - 1]) - np.float32(2.0) * image[y, x - 1]
    middle = (image[y - 1, x] + image[y + 1, x]) - np.float32(2.0) * image[y, x]
    right = (image[y - 1, x + 1] + image[y + 1, x + 1]) - np.float32(2.0) * image[y, x + 1]
    return (left + right) - np.float32(2.0) * middle


@device
def _range(begin, side, n, move):
    """Pixels of a block whose splines lie in both images, along an axis."""
    return max(begin, 2, 4 - move), min(begin + side, n - 3, n - 5 - move)


@kernel
def block_sums(images, fields, precisions, move, line, side, out):
    """Sums over blocks of pixels that exist in both images.

    Parameters
    ----------
    images : tuple of ndarray (Y, X) float32
        Both as they are.
    fields : tuple of ndarray (Y, X) float32
        The first smoothed, A, and the second smoothed and moved to it, B.
    precisions : tuple of ndarray (Y, X) float32
        0 where a pixel is missing, of both images as they are.
    move : tuple
        dy, dx of the second image, whole pixels.
    line : tuple
        gain, offset: A is gain B + offset.
    side : int
        Pixels of a block along each axis.
    out : ndarray (rows, columns, 4)
        Pixels, squares of A - gain B - offset, squares of second differences of both images.
    """
    first, second = images
    a, b = fields
    here, there = precisions
    gain, offset = np.float32(line[0]), np.float32(line[1])
    none = np.float32(0.0)
    for i in range(out.shape[0]):
        top, bottom = _range(i * side, side, first.shape[0], move[0])
        for j in range(out.shape[1]):
            left, right = _range(j * side, side, first.shape[1], move[1])
            count = rest = one = two = none
            for y in range(top, bottom):
                for x in range(left, right):
                    u, v = y + move[0], x + move[1]
                    if here[y, x] > none and there[u, v] > none:
                        r = a[y, x] - gain * b[y, x] - offset
                        p = _second_difference(first, y, x)
                        q = _second_difference(second, u, v)
                        count += np.float32(1.0)
                        rest += r * r
                        one += p * p
                        two += q * q
            out[i, j, 0], out[i, j, 1], out[i, j, 2], out[i, j, 3] = count, rest, one, two
