"""Registration written slowly: sums over pixels, scipy's splines, scenes with known shifts."""

import numpy as np
from scipy import ndimage
from scipy.interpolate import BSpline

QUINTIC = BSpline.basis_element(np.arange(-3.0, 4.0), extrapolate=False)


def quintic_weights(f, derivative=0):
    """Weights of nodes -2 .. 3 at a fraction of a pixel."""
    spline = QUINTIC.derivative(derivative) if derivative else QUINTIC
    return np.nan_to_num(spline(f - np.arange(-2.0, 4.0)))


def cloud(n, rng, power=1.5):
    """Half the spectrum of a periodic scene of amplitude k^-power and standard deviation 1."""
    k = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)) * n
    k[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.normal(size=(n, n))) * k**-power
    if n % 2 == 0:
        spectrum[n // 2] = 0
        spectrum[:, -1] = 0
    return spectrum / np.fft.irfft2(spectrum, (n, n)).std()


def scene(spectrum, n, dx=0.0, dy=0.0):
    """The scene displaced."""
    phase = np.fft.fftfreq(n)[:, None] * dy + np.fft.rfftfreq(n) * dx
    return np.fft.irfft2(spectrum * np.exp(-2j * np.pi * phase), (n, n))


def gradients(spectrum, n):
    """Derivatives of the scene along x and y."""
    axes = np.fft.rfftfreq(n), np.fft.fftfreq(n)[:, None]
    return [np.fft.irfft2(spectrum * 2j * np.pi * k, (n, n)) for k in axes]


def chi2_map(im1, im2, err, boundary, reduced):
    """chi-squared of whole shifts of im2, pixel by pixel; err 0 and NaN are missing."""
    shape = im1.shape
    zero = [(n - 1) // 2 for n in shape]
    out = np.full(shape, np.nan)
    for i, j in np.ndindex(shape):
        total, pairs = 0.0, 0
        for y, x in np.ndindex(shape):
            u, v = y + zero[0] - i, x + zero[1] - j
            if boundary == "wrap":
                u, v = u % shape[0], v % shape[1]
            if not (0 <= u < shape[0] and 0 <= v < shape[1]):
                continue
            if np.isfinite(im1[y, x]) and np.isfinite(im2[u, v]) and err[u, v] > 0:
                total += ((im1[y, x] - im2[u, v]) / err[u, v]) ** 2
                pairs += 1
        out[i, j] = total / (pairs - 2) if reduced else total
    return out


def cross_correlate(a, b, boundary, normalize):
    """The correlation of what a lag lays on each other; NaN where fewer than a tenth do."""
    shape = a.shape
    out = np.full(shape, np.nan)
    for index in np.ndindex(shape):
        lag = [i - n // 2 for i, n in zip(index, shape, strict=False)]
        pairs = []
        for x in np.ndindex(shape):
            y = [i + d for i, d in zip(x, lag, strict=False)]
            if boundary == "wrap":
                y = [i % n for i, n in zip(y, shape, strict=False)]
            if all(0 <= i < n for i, n in zip(y, shape, strict=False)):
                pairs.append((a[x], b[tuple(y)]))
        p, q = np.array([pair for pair in pairs if np.isfinite(pair).all()] or np.empty((0, 2))).T
        if not normalize:
            out[index] = p @ q
        elif len(p) >= 0.1 * a.size:
            out[index] = np.corrcoef(p, q)[0, 1]
    return out


def median_test(moves, noise=0.1, limit=2.0):
    """Westerweel and Scarano's test, vector by vector."""
    out = np.zeros(moves.shape[:2], bool)
    for i, j in np.ndindex(out.shape):
        near = [
            moves[u, v]
            for u in range(max(i - 1, 0), min(i + 2, out.shape[0]))
            for v in range(max(j - 1, 0), min(j + 2, out.shape[1]))
            if (u, v) != (i, j) and np.isfinite(moves[u, v]).all()
        ]
        if not near:
            out[i, j] = np.isnan(moves[i, j]).any()
            continue
        median = np.median(near, axis=0)
        spread = np.median(np.abs(near - median), axis=0)
        excess = np.linalg.norm((moves[i, j] - median) / (spread + noise))
        out[i, j] = not excess <= limit
    return out


def score(a, b, taps, box, dx, dy):
    """Score and slopes of a displacement, by scipy's splines of the smoothed images."""
    both = np.concatenate([taps[:0:-1], taps])
    splines = []
    for image in (a, b):
        smooth = image - a.mean()
        for axis in (0, 1):
            smooth = ndimage.correlate1d(smooth, both, axis, mode="reflect")
        splines.append(smooth)
    y, x = (c[box].astype(float) for c in np.indices(a.shape))

    def at(coefficients, u, v, order):
        """Sum over the 36 nodes around; order of the derivative along (y, x)."""
        out = np.zeros(u.shape)
        base = np.floor(u).astype(int), np.floor(v).astype(int)
        wy = quintic_weights(u.flat[0] - base[0].flat[0], order[0])
        wx = quintic_weights(v.flat[0] - base[1].flat[0], order[1])
        for i in range(6):
            for j in range(6):
                out += wy[i] * wx[j] * coefficients[base[0] + i - 2, base[1] + j - 2]
        return out

    value = at(splines[0], y, x, (0, 0))
    moved = at(splines[1], y + dy, x + dx, (0, 0))
    slopes = [at(splines[1], y + dy, x + dx, order) for order in ((0, 1), (1, 0))]
    fields = [at(splines[0], y, x, order) for order in ((0, 1), (1, 0))]
    centred = value - value.mean()
    fields = [f - f.mean() for f in fields]
    fields = [f - centred * np.vdot(f, centred) / np.vdot(centred, centred) for f in fields]
    right = np.array([np.vdot(f, value - moved) for f in fields])
    return right, np.array([[np.vdot(f, s) for s in slopes] for f in fields])


def joint_bound(slopes, count, noise):
    """Cramer-Rao bound (2, 2) of a displacement from the mean of a stack of an unknown scene.

    The scene's pixels are as many unknowns, which cost one frame's share of the information.
    """
    fisher = (
        np.array([[np.vdot(p, q) for q in slopes] for p in slopes]) / noise**2 if noise else None
    )
    return (1 - 1 / count) * np.linalg.inv(fisher) if noise else np.zeros((2, 2))


def motion_step(a, b, taps, margin, matrix, displacement, names):
    """Newton's step (k,) from a motion, by lstsq and scipy's splines; the steps are not scaled.

    ``taps`` are half of the filter that makes spline coefficients, ``margin`` the pixels beside a
    border that do not count.
    """
    fields = {
        "dx": lambda y, x: (0 * y, 1 + 0 * x),
        "dy": lambda y, x: (1 + 0 * y, 0 * x),
        "angle": lambda y, x: (x, -y),
        "scale": lambda y, x: (y, x),
        "yy": lambda y, x: (y, 0 * x),
        "yx": lambda y, x: (x, 0 * y),
        "xy": lambda y, x: (0 * y, y),
        "xx": lambda y, x: (0 * y, x),
    }
    centre = (np.array(a.shape) - 1) / 2
    y, x = (k - c for k, c in zip(np.indices(a.shape), centre, strict=True))
    places = [row[0] * y + row[1] * x + d for row, d in zip(matrix, displacement, strict=True)]
    places = [p + c for p, c in zip(places, centre, strict=True)]
    b = ndimage.map_coordinates(b, places, order=5, mode="reflect")
    inside = np.logical_and.reduce(
        [(p >= 0) & (p <= n - 1) for p, n in zip(places, a.shape, strict=True)]
    )
    line = np.concatenate([taps[:0:-1], taps])
    value, slope = np.array([1, 26, 66, 26, 1]) / 120, np.array([-1, -10, 0, 10, 1]) / 24
    sums = []
    for image in (a, b):
        c = ndimage.correlate1d(ndimage.correlate1d(image, line, 0), line, 1)
        sums.append(
            [
                ndimage.correlate1d(ndimage.correlate1d(c, rows, 0), columns, 1)
                for rows, columns in ((value, value), (slope, value), (value, slope))
            ]
        )
    inner = ndimage.minimum_filter(inside, 2 * margin + 1, mode="constant", cval=0) > 0
    columns = []
    for _, along_y, along_x in sums:
        moves = [fields[name](y, x) for name in names]
        columns.append(np.array([(v * along_y + u * along_x)[inner] for v, u in moves]))
    first, second = sums[0][0][inner], sums[1][0][inner]
    may_differ = np.stack([np.ones_like(first), first])
    p = columns[0] - np.linalg.lstsq(may_differ.T, columns[0].T, rcond=None)[0].T @ may_differ
    return np.linalg.solve(p @ columns[1].T, p @ (first - second))
