"""HEALPix pixels by their definition: Gorski et al. 2005 (ApJ 622, 759), one at a time.

In the plane of ``project`` all pixels are squares that stand on a corner, of half diagonal
pi / (4 nside), and a direction belongs to the square that it falls into. Centres are those of
equations 4 to 9, the nested order that of equations 10 to 14; but a ring with a pixel centred on
longitude 0 begins with that pixel, as in all software, where the paper ends with it.
"""

import math

HALF_PI = 0.5 * math.pi


def centre(pixel, nside):
    """``(z, half, phi)`` of the centre of a pixel in the ring order.

    ``half`` is sin(theta / 2) with theta from the nearer pole.
    """
    last = 12 * nside * nside - 1
    if pixel > last - 2 * nside * (nside - 1):
        z, half, phi = centre(last - pixel, nside)
        return -z, half, 4 * HALF_PI - phi
    if pixel < 2 * nside * (nside - 1):  # 4, 5
        ring = (1 + math.isqrt(2 * pixel + 1)) // 2
        j = pixel + 1 - 2 * ring * (ring - 1)
        z = 1 - ring**2 / (3 * nside**2)
        return z, ring / (math.sqrt(6) * nside), HALF_PI / ring * (j - 0.5)
    rest = pixel - 2 * nside * (nside - 1)  # 6 to 9
    ring, j = rest // (4 * nside) + nside, rest % (4 * nside) + 1
    z = 4 / 3 - 2 * ring / (3 * nside)
    s = (ring - nside + 1) % 2
    return z, math.sqrt((1 - abs(z)) / 2), HALF_PI / nside * (j - 1 + s / 2)


def ring_of_nest(pixel, nside):
    """The number in the ring order of a pixel in the nested one, equations 10 to 14."""
    face, rest = divmod(pixel, nside * nside)
    x = sum(((rest >> (2 * k)) & 1) << k for k in range(30))
    y = sum(((rest >> (2 * k + 1)) & 1) << k for k in range(30))
    row = face // 4
    f1 = row + 2
    f2 = 2 * (face % 4) - (row % 2) + 1
    vertical, horizontal = x + y, x - y
    ring = f1 * nside - vertical - 1
    length = min(ring, nside, 4 * nside - ring)
    s = (ring - nside + 1) % 2 if nside <= ring <= 3 * nside else 1
    j = ((f2 * length + horizontal + s) // 2 - s) % (4 * length)
    if ring < nside:
        return 2 * ring * (ring - 1) + j
    if ring <= 3 * nside:
        return 2 * nside * (nside - 1) + (ring - nside) * 4 * nside + j
    return 12 * nside * nside - 2 * length * (length + 1) + j


def project(z, half, phi):
    """The plane in which pixels are squares: longitude across, -pi / 2 to pi / 2 along."""
    if abs(z) <= 2 / 3:
        return phi, 3 / 8 * math.pi * z
    from_pole = math.sqrt(6) * half
    across = phi % HALF_PI - HALF_PI / 2
    return phi - (1 - from_pole) * across, math.copysign(HALF_PI / 2 * (2 - from_pole), z)


def distance(pixel, theta, phi, nside):
    """How far a direction is from the centre of a pixel of the ring order, 1 at its edges."""
    phi %= 4 * HALF_PI
    phi = 0.0 if phi == 4 * HALF_PI else phi
    x, y = project(math.cos(theta), math.sin(min(theta, math.pi - theta) / 2), phi)
    centre_x, centre_y = project(*centre(pixel, nside))
    across = abs(x - centre_x) % (4 * HALF_PI)
    across = min(across, 4 * HALF_PI - across)
    return (across + abs(y - centre_y)) * 4 * nside / math.pi


def holding(theta, phi, nside, slack=1e-9):
    """All pixels of the ring order that hold a direction: one, or several at an edge."""
    return [k for k in range(12 * nside**2) if distance(k, theta, phi, nside) <= 1 + slack]
