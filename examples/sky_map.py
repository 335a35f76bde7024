"""Ten million sources on the sky: maps of their density, and their power spectrum.

Sources without clustering are added to HEALPix maps of nside 64 and 1024. The counts of the pixels
are then Poisson distributed, and the spectrum of the overdensity is flat, C_l = 4 pi / N: shot
noise. If healpy is installed, the spectrum of the map is compared with this; if matplotlib is, a
picture shows the sky, in Mollweide's projection by ``healpix_pixel``, and the spectrum.

Run ``python examples/sky_map.py``; ``--count`` for fewer sources, ``--picture`` for a file.
"""

import argparse
import time

import numpy as np

import fastgauss as fg

COUNT = 10_000_000
SIDES = (64, 1024)


def make(count, seed=0):
    """Colatitude and longitude of sources anywhere on the sphere."""
    rng = np.random.default_rng(seed)
    return np.arccos(rng.uniform(-1.0, 1.0, count)), rng.uniform(0.0, 2.0 * np.pi, count)


def density(theta, phi, nside):
    """Sources in each pixel by their mean, less 1."""
    counts = fg.healpix_add(np.zeros(12 * nside**2), theta, phi)
    return counts / counts.mean() - 1.0


def spectrum(overdensity, nside):
    """C_l of a map from l = 2 on, and the standard deviation of each that shot noise has."""
    import healpy

    power = healpy.anafast(overdensity, lmax=2 * nside, iter=0)[2:]
    degrees = np.arange(2, power.size + 2)
    return degrees, power, np.sqrt(2.0 / (2.0 * degrees + 1.0))


def flatness(power, scatter, shot_noise):
    """Mean of C_l by shot noise, weighted, and how many standard errors it is from 1."""
    weights = scatter**-2
    mean = np.average(power / shot_noise, weights=weights)
    return mean, (mean - 1.0) * np.sqrt(weights.sum())


def mollweide(overdensity, height=400):
    """The map as an image, NaN outside the ellipse."""
    nside = int(np.sqrt(overdensity.size // 12))
    y, x = np.mgrid[1 : -1 : height * 1j, -2 : 2 : 2 * height * 1j]
    inside = x**2 / 4 + y**2 < 1
    turn = np.arcsin(y[inside])
    sine = (2 * turn + np.sin(2 * turn)) / np.pi
    longitude = np.pi * x[inside] / (2 * np.cos(turn))
    image = np.full(x.shape, np.nan)
    image[inside] = overdensity[fg.healpix_pixel(np.arccos(sine), longitude, nside)]
    return image


def draw(path, overdensity, spectra, shot_noise):
    """The sky at the first nside, and the spectra of all."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (sky, plot) = plt.subplots(2, 1, figsize=(7, 7.5), layout="constrained")
    limit = 3 * overdensity.std()
    shown = sky.imshow(mollweide(overdensity), cmap="RdBu_r", vmin=-limit, vmax=limit)
    sky.set_axis_off()
    sky.set_title("sources a pixel by their mean, less 1")
    figure.colorbar(shown, ax=sky, label="overdensity", shrink=0.8)
    for nside, (degrees, power, _) in spectra.items():
        plot.plot(degrees, power, ".", ms=2, label=f"nside {nside}")
    plot.axhline(shot_noise, color="black", lw=1, label="shot noise, 4 pi / N")
    plot.set(xscale="log", xlabel="degree l", ylabel="C_l of the overdensity")
    plot.set_ylim(0, 3 * shot_noise)
    plot.legend(markerscale=5)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    """Maps, their times, spectra and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=COUNT, help="number of sources")
    parser.add_argument("--picture", default="sky_map.png", help="file to draw to")
    options = parser.parse_args()
    theta, phi = make(options.count)
    shot_noise = 4 * np.pi / options.count
    density(theta[:1], phi[:1], 1)  # compiles, or loads what is compiled
    maps, spectra = {}, {}
    for nside in SIDES:
        begin = time.perf_counter()
        maps[nside] = density(theta, phi, nside)
        print(f"nside {nside}: map in {1000 * (time.perf_counter() - begin):.0f} ms")
        try:
            spectra[nside] = spectrum(maps[nside], nside)
        except ImportError:
            print("no spectrum without healpy")
            continue
        mean, errors = flatness(*spectra[nside][1:], shot_noise)
        print(f"  C_l by shot noise {mean:.4f}, {errors:+.1f} standard errors from 1")
    try:
        draw(options.picture, maps[SIDES[0]], spectra, shot_noise)
    except ImportError:
        print("no picture without matplotlib")


if __name__ == "__main__":
    main()
