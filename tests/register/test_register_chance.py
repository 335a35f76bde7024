"""What has nothing in common, too much noise, or another match: statuses that tell."""

import naive_register as naive
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.register import Status, align, displacement_field

pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="many images")


def spots(n, places, heights, sigma, dx=0.0, dy=0.0):
    """Spots at (x, y), displaced."""
    grid = np.arange(n)
    rows = np.exp(-0.5 * ((grid[:, np.newaxis] - places[:, 1] - dy) / sigma) ** 2)
    columns = np.exp(-0.5 * ((grid[:, np.newaxis] - places[:, 0] - dx) / sigma) ** 2)
    return (rows * heights) @ columns.T


def scene(n, rng, power=1.5, noise=0.0, dx=0.0, dy=0.0, spectrum=None):
    spectrum = naive.cloud(2 * n, rng, power) if spectrum is None else spectrum
    return naive.scene(spectrum, 2 * n, dx, dy)[:n, :n] + rng.normal(0, noise, (n, n))


def stars(n, rng, count=40):
    heights = np.exp(rng.uniform(np.log(30), np.log(3000), count))
    return rng.poisson(20 + spots(n, rng.uniform(-4, n + 4, (count, 2)), heights, 1.3)).astype(
        float
    )


UNRELATED = {
    "noise": lambda n, rng: rng.normal(size=(n, n)),
    "clouds": scene,
    "flat clouds": lambda n, rng: scene(n, rng, 1.0),
    "clouds in noise": lambda n, rng: scene(n, rng, 1.5, 1.0),
    "particles": lambda n, rng: spots(n, rng.uniform(-5, n + 5, (200, 2)), np.full(200, 9.0), 1.1),
    "stars": stars,
    "ten stars": lambda n, rng: stars(n, rng, 10),
    "mosaic": lambda n, rng: np.kron(rng.normal(size=(n // 4, n // 4)), np.ones((4, 4))),
}


@pytest.mark.parametrize("kind", UNRELATED)
@pytest.mark.parametrize("boundary", ["overlap", "wrap"])
def test_unrelated_images_do_not_converge(kind, boundary):
    rng = np.random.default_rng(len(kind))
    make = UNRELATED[kind]
    shifts = [align(make(64, rng), make(64, rng), boundary=boundary) for _ in range(60)]
    assert sum(s.converged for s in shifts) <= 1
    for shift in shifts:
        if shift.status == Status.AMBIGUOUS:
            assert shift.errors.max() > 1


@pytest.mark.parametrize("power", [1.0, 1.5])
def test_what_converges_holds_at_any_noise(power):
    """From a signal ten times the noise to none."""
    rng = np.random.default_rng(int(10 * power))
    converged, off = [], 0
    levels = (0.1, 0.3, 0.6, 1.0, 1.5, 2.5, 5.0)
    for noise in levels:
        count = 0
        for _ in range(20):
            spectrum, truth = naive.cloud(160, rng, power), rng.uniform(-3, 3, 2)
            a, b = (scene(80, rng, noise=noise, spectrum=spectrum, dx=d[0], dy=d[1])
                    for d in ((0, 0), truth))  # fmt: skip
            shift = align(a, b)
            if shift.converged:
                count += 1
                off += bool((np.abs(shift[:2] - truth) > 5 * shift.errors).any())
        converged.append(count)
    assert off == 0
    assert converged[:3] == [20, 20, 20] and converged[3] >= 10


@pytest.mark.parametrize("move", [12, 20])
def test_windows_that_moved_too_far_are_not_good(move):
    rng = np.random.default_rng(move)
    places, heights = rng.uniform(-30, 158, (1200, 2)), np.full(1200, 200.0)
    a, b = (spots(128, places, heights, 1.0, d) + rng.normal(0, 5, (128, 128)) for d in (0, move))
    field = displacement_field(a, b, 32, 16)  # looks 8 px far
    wrong = ~(np.hypot(field.dx - move, field.dy) < 1)
    assert (field.converged & wrong).mean() < 0.01 and field.outlier[wrong].all()
    assert displacement_field(a, b, 32, 16, search=24).converged.mean() > 0.6


def test_periodic_scenes_in_noise():
    rng = np.random.default_rng(12)
    converged = off = 0
    for noise in (0.2, 0.7, 1.5, 2.0):
        for _ in range(15):
            spectrum, truth = naive.cloud(64, rng), rng.uniform(-3, 3, 2)
            a, b = (naive.scene(spectrum, 64, *d) + rng.normal(0, noise, (64, 64))
                    for d in ((0, 0), truth))  # fmt: skip
            shift = align(a, b, boundary="wrap")
            converged += shift.converged
            off += shift.converged and (np.abs(shift[:2] - truth) > 5 * shift.errors).any()
    assert converged >= 50 and off <= 1


def flow(speed, rng, noise=0.03, n=112, wave=14.0):
    """Two images of a texture in a flow that turns, and the flow at the centres of windows."""
    texture = ndimage.gaussian_filter(rng.normal(size=(n, n)), 2)
    y, x = np.indices((n, n)).astype(float)
    back = [y - speed * np.cos(x / wave), x - speed * np.sin(y / wave)]
    moved = ndimage.map_coordinates(texture, back, order=5, mode="nearest")
    size = texture.std()
    return [image / size + rng.normal(0, noise, (n, n)) for image in (texture, moved)]


def test_flows_with_shear_are_good_in_any_unit():
    """Images that are deformed: windows of 32 whose displacement varies by 2 px and by 6 px."""
    for speed, share in ((1.0, 0.95), (2.0, 0.6)):
        a, b = flow(speed, np.random.default_rng(8))
        fields = [displacement_field(a * k, b * k, 32, 16) for k in (1.0, 1e4, 3e-9)]
        assert fields[0].converged.mean() >= share
        for field in fields[1:]:
            assert_array_equal(field.status, fields[0].status)
            assert_allclose(field.dx, fields[0].dx, rtol=0, atol=1e-3)
    strong = displacement_field(*flow(6.0, np.random.default_rng(8)), 32, 16)
    assert strong.converged.mean() < 0.3  # the windows have no displacement


@pytest.mark.parametrize("boundary", ["overlap", "wrap"])
@pytest.mark.parametrize("noisy", [0, 1])
def test_one_image_may_be_free_of_noise(noisy, boundary):
    rng = np.random.default_rng(9)
    for _ in range(20):
        spectrum, truth = naive.cloud(64, rng), rng.uniform(-3, 3, 2)
        pair = [naive.scene(spectrum, 64, *d) for d in ((0, 0), truth)]
        pair[noisy] = pair[noisy] + rng.normal(0, 0.5, (64, 64))
        shift = align(*pair, boundary=boundary)
        assert shift.converged and (np.abs(shift[:2] - truth) < 5 * shift.errors).all()


def test_search_bounds_the_answer():
    rng = np.random.default_rng(1)
    spectrum = naive.cloud(160, rng)
    a, b = (scene(80, rng, spectrum=spectrum, dx=dx, dy=1.3, noise=0.02) for dx in (0, -6.4))
    for boundary in ("overlap", "wrap"):
        for search in (0.5, 2.0, 4.0):
            shift = align(a, b, search=search, boundary=boundary)
            assert not shift.converged
            assert not max(abs(shift.dx), abs(shift.dy)) > search
        assert align(a, b, search=8).dx == pytest.approx(-6.4, abs=0.05)
    field = displacement_field(a, b, 32, 16, search=3)
    assert not field.converged.any() and not (np.abs(field.dx) > 3).any()


@pytest.mark.parametrize("period", [7.3, 8.0])
def test_a_lattice_is_ambiguous_unless_the_search_is_short(period):
    rng = np.random.default_rng(4)
    y, x = np.indices((96, 96))

    def lattice(dx, dy):
        waves = np.cos(2 * np.pi * (y - dy) / period) + np.cos(2 * np.pi * (x - dx) / period)
        return waves + rng.normal(0, 0.1, x.shape)

    one, two = lattice(0, 0), lattice(2, 1)
    shift = align(one, two)
    assert shift.status == Status.AMBIGUOUS and shift.errors.min() > 5
    if period == 8.0:
        assert align(one, two, boundary="wrap").status == Status.AMBIGUOUS
    near = align(one, two, search=3.5)
    assert_allclose(near[:2], (2, 1), rtol=0, atol=0.05)


@pytest.mark.parametrize("height", [20.0, 1000.0])
def test_one_spot_is_enough(height):
    rng = np.random.default_rng(5)
    place = np.array([[31.0, 33.0]])
    a, b = (
        spots(64, place, [height], 3.0, *d) + rng.normal(0, 1, (64, 64))
        for d in ((0, 0), (1.3, -2.2))
    )
    shift = align(a, b)
    assert shift.converged
    assert_allclose(shift[:2], (1.3, -2.2), rtol=0, atol=5 * shift.errors.max())


# -- texture of one direction ------------------------------------------------------------------


def trench(rows, shift, noise=0.0, seed=0):
    image = np.ones((100, 20))
    image[: 40 + shift] = image[50 + shift : 50 + rows + shift] = 0.5
    return image + np.random.default_rng(seed).normal(0, noise, image.shape)


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize(("rows", "shift"), [(10, 15), (10, 7), (20, 20)])
def test_lines_give_the_displacement_across_them(rows, shift, noise):
    a, b = trench(rows, 0, noise), trench(rows, shift, noise, 1)
    for one, two, component in ((a, b, 1), (a.T, b.T, 0)):
        found = align(one, two, search=30)
        assert found.status == Status.ONE_DIRECTION and not found.converged
        assert found[component] == pytest.approx(shift, abs=0.1 + 3 * noise)
        assert found.errors[component] < 0.2 and np.isinf(found.errors[1 - component])
        assert found[1 - component] == 0


def test_oblique_lines():
    rng = np.random.default_rng(6)
    y, x = np.indices((64, 64))
    profile = np.convolve(rng.normal(size=400), np.ones(5) / 5, "same")

    def stripes(dx, dy):
        across = ((x - dx) + (y - dy)) / np.sqrt(2)
        return np.interp(across + 120, np.arange(400), profile)

    shift = align(stripes(0, 0), stripes(2, 1))
    assert shift.status == Status.ONE_DIRECTION
    assert_allclose(shift[:2], (1.5, 1.5), rtol=0, atol=0.05)
    assert np.isinf(shift.errors).all()


def test_periodic_lines():
    y = np.arange(64)
    line = np.random.default_rng(7).normal(size=64).cumsum()
    line -= np.linspace(0, line[-1], 64)
    a, b = (np.repeat(np.roll(line, k)[:, np.newaxis], len(y), 1) for k in (0, 5))
    shift = align(a, b, boundary="wrap")
    assert shift.status == Status.ONE_DIRECTION and shift.dy == pytest.approx(5, abs=1e-6)
    assert np.isinf(shift.errors[0]) and shift.dx == 0
