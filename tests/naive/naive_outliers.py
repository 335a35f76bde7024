"""Which fits of symmetric spots have an outlier among their pixels, in plain numpy.

The leverage is that of the height, from sums over a plane without end.
"""

import numpy as np

FAR = 60  # pixels, where the sums of the leverage end


def sharpness(row):
    """By how much each pixel of a row stands out from both neighbours; missing ones are none."""
    row = np.asarray(row, float)
    out = np.full(row.size, -1.0)
    for k in range(row.size):
        beside = [row[j] for j in (k - 1, k + 1) if 0 <= j < row.size and np.isfinite(row[j])]
        if beside and np.isfinite(row[k]):
            out[k] = max(row[k] - max(beside), min(beside) - row[k])
    return out


def profile(params, y, x):
    return np.exp(-0.5 * ((x - params[1]) ** 2 + (y - params[2]) ** 2) / params[3] ** 2)


def losses(d, m, method):
    if method == "lsq":
        return (d - m) ** 2
    m = np.maximum(m, 1e-200)
    return 2 * (m - d + d * np.log(np.where(d > 0, d, 1.0) / m))


def without_pixel(roi, params, method, k):
    """By how much pixel k is off without it, and by how much the objective falls."""
    y, x = np.divmod(k, roi.shape[1])
    m = params[0] * profile(params, y, x) + params[-1]
    d = roi[y, x]
    far_y, far_x = np.mgrid[-FAR : FAR + 1, -FAR : FAR + 1] + np.round(params[2::-1][:2]).reshape(
        2, 1, 1
    )
    every = profile(params, far_y, far_x)
    power = 2 if method == "lsq" else 1
    h = min(profile(params, y, x) ** power / (every**power).sum(), 0.95)
    part = losses(d, m, method)
    drop = part / (1 - h) if method == "lsq" else part + h / (1 - h) * (d - m) ** 2 / m
    return abs(d - m) / (1 - h), drop


def has_outlier(roi, params, method):
    height = abs(params[0])
    sharp = sharpness(roi.ravel())
    k = int(sharp.argmax())
    if sharp[k] <= 0.45 * height:
        return False
    y, x = np.mgrid[: roi.shape[0], : roi.shape[1]]
    objective = losses(
        roi, height * np.sign(params[0]) * profile(params, y, x) + params[-1], method
    )
    missed, drop = without_pixel(roi, params, method, k)
    share, off = drop / objective.sum(), missed / height
    if method == "mle" and drop > 25:
        return off > 0.5 and share > 0.2 and share * off > 0.25
    return off > 0.5 and share > 0.5
