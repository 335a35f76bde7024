"""Profiles of stars that share a shape, and the solver that eliminates single stars."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import least_squares

import fastgauss as fg
from fastgauss.models.field_terms import Extent
from fastgauss.psf import shared_shape as shared
from fastgauss.psf.profiles import (
    SHAPES,
    Form,
    Numbers,
    chain,
    free_of,
    is_sound,
    is_sound_everywhere,
    local,
    local_chain,
    numbers_of,
    spread,
    values,
    with_component,
    with_order,
)
from fastgauss.psf.sky import Sky

WEIGHTS, SIGMAS = np.array([0.6, 0.3, 0.1]), np.array([1.0, 1.8, 4.0])
ELLIPSE = np.array([0.3, 0.2])
DY = np.arange(9) - np.array([[4.2], [3.7]])
DX = np.arange(11) - np.array([[5.2], [4.7]])
FORMS = [Form(3, shape, pixel) for shape in SHAPES for pixel in ("sample", "integrate")]
by_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.shape}-{form.pixel}")


def slope(function, at):
    """A derivative by differences of the fourth order."""
    h = 1e-3
    near, far = (function(at + s * h) - function(at - s * h) for s in (1.0, 2.0))
    return (8.0 * near - far) / (12.0 * h)


@by_form
def test_slopes_are_those_of_the_values(form):
    q = free_of(form, WEIGHTS, SIGMAS, ELLIPSE)
    found = spread(form, q, DY, DX)
    assert_allclose(found.values, values(form, q, DY, DX), rtol=1e-12)
    by_free = np.einsum("nf,snyx->fsyx", chain(form, q), found.by_natural)
    for k, column in enumerate(by_free):
        unit = np.eye(form.size)[k]
        wanted = slope(lambda t, u=unit: values(form, q + t * u, DY, DX), 0.0)
        assert_allclose(column, wanted, atol=3e-11)
    assert_allclose(found.by_x, slope(lambda t: values(form, q, DY, DX - t), 0.0), atol=3e-11)
    assert_allclose(found.by_y, slope(lambda t: values(form, q, DY - t, DX), 0.0), atol=3e-11)


@by_form
def test_numbers_come_back_and_the_flux_is_1(form):
    q = free_of(form, WEIGHTS, SIGMAS, ELLIPSE)
    weights, sigmas, ellipse = numbers_of(form, q)
    assert_allclose(weights, WEIGHTS, rtol=1e-14)
    assert_allclose(sigmas, SIGMAS, rtol=1e-14)
    assert_allclose(ellipse[: form.further], ELLIPSE[: form.further])
    side = np.arange(-40.0, 41.0)[np.newaxis]
    assert_allclose(values(form, q, side - 0.3, side + 0.1).sum(), 1.0, rtol=1e-6)


def test_a_turned_shape_without_a_turn_is_the_elliptic_one():
    straight, rotated = Form(3, "elliptic", "sample"), Form(3, "rotated", "sample")
    for e in (0.0, 0.4, -0.7):
        ellipse = np.array([e, 0.0])
        one = values(straight, free_of(straight, WEIGHTS, SIGMAS, ellipse), DY, DX)
        other = values(rotated, free_of(rotated, WEIGHTS, SIGMAS, ellipse), DY, DX)
        assert_allclose(other, one, rtol=1e-12)


@pytest.mark.parametrize(
    ("weights", "sigmas", "sound"),
    [
        ([0.7, 0.3], [1.0, 2.0], True), ([1.1, -0.1], [1.0, 2.0], False), # a dark ring
        ([-0.2, 1.2], [1.0, 2.0], True), ([-0.9, 1.9], [1.0, 2.0], False),
        ([0.7, 0.3], [1.0, 1.1], False), ([0.7, 0.3], [1.0, 9.0], False),
        ([0.7, 0.3], [0.01, 2.0], False),
    ],
)  # fmt: skip
def test_what_no_star_is_like_is_told(weights, sigmas, sound):
    form = Form(2, "round", "sample")
    q = free_of(form, np.array(weights), np.array(sigmas), np.zeros(2))
    assert is_sound(form, q, 8.0) == sound
    assert not is_sound(form, q * np.nan, 8.0)
    assert (
        is_sound(form, np.stack([free_of(form, np.full(2, 0.5), SIGMAS[:2], []), q]), 8.0) == sound
    )


# -- the solver --------------------------------------------------------------------------------

FORM = Form(2, "elliptic", "integrate")
TRUTH = free_of(FORM, np.array([0.7, 0.3]), np.array([1.1, 2.3]), np.array([0.2, 0.0]))
OWN = np.array([
    [900.0, 20.2, 30.4, 5.0, 0.5, -0.3], [500.0, 51.7, 9.9, 4.0, 0.0, 0.2],
    [700.0, 80.0, 70.5, 6.0, -0.4, 0.1],
])  # fmt: skip


def noisy_stack(seed=3, side=13):
    """Boxes around three stars, with missing pixels."""
    rng = np.random.default_rng(seed)
    first = np.rint(OWN[:, 2:0:-1]) - side // 2
    empty = shared.Stack(np.zeros((3, side, side)), np.zeros((3, side, side)), first)
    light = shared.models(FORM, TRUTH, OWN, empty)
    data = light + rng.normal(0.0, 1.5, light.shape)
    weights = np.full(data.shape, 1.5**-2)
    weights[rng.random(data.shape) < 0.1] = 0.0
    return empty._replace(data=np.where(weights > 0, data, 1e6), weights=weights)


def test_the_solution_is_that_of_all_parameters_at_once():
    stack = noisy_stack()

    def residuals(p):
        light = shared.models(FORM, p[: FORM.size], p[FORM.size :].reshape(3, 6), stack)
        return (np.sqrt(stack.weights) * (stack.data - light)).ravel()

    start = np.concatenate([TRUTH, OWN.ravel()])
    best = least_squares(residuals, start, x_scale="jac", xtol=1e-12, ftol=1e-12, gtol=1e-12)
    begin = TRUTH + np.array([0.1, -0.1, 0.1, -0.2])
    found = shared.solve(FORM, begin, OWN * 1.01, stack, 2.0, 20.0)
    assert_allclose(found.chi2.sum(), 2.0 * best.cost, rtol=1e-5)
    whole = np.linalg.inv(best.jac.T @ best.jac)
    errors = np.sqrt(np.diagonal(whole))
    p = np.concatenate([found.shape, found.own.ravel()])
    assert (np.abs(p - best.x) < 0.05 * errors).all()
    known = shared.covariances(
        FORM, found._replace(shape=best.x[:4], own=best.x[4:].reshape(3, 6)), stack
    )
    assert_allclose(known.shape, whole[:4, :4], rtol=1e-4, atol=1e-6 * errors[:4].max() ** 2)
    for k in range(3):
        part = slice(4 + 6 * k, 10 + 6 * k)
        scale = np.outer(errors[part], errors[part])
        assert_allclose(known.own[k] / scale, whole[part, part] / scale, atol=1e-4)


def test_a_rough_search_ends_near_the_least_chi2_of_any_group_of_stars():
    stack = noisy_stack()
    many = np.arange(19) % 3  # more than are computed together
    begin = TRUTH + np.array([0.1, -0.1, 0.1, -0.2])
    own, some = OWN[many] * 1.01, stack.take(many)
    alone = [shared.chi2_of(FORM, begin, own[k : k + 1], some.take([k]))[0] for k in range(19)]
    assert_allclose(shared.chi2_of(FORM, begin, own, some), alone, rtol=1e-13)
    best = shared.solve(FORM, begin, own, some, 2.0, 20.0)
    rough = shared.solve(FORM, begin, own, some, 2.0, 20.0, shared.ROUGH_GAIN)
    assert 0.0 <= rough.objective - best.objective < shared.ROUGH_GAIN
    three = shared.solve(FORM, begin, own[:3], some.take(slice(3)), 2.0, 20.0)
    assert_allclose(best.chi2[:3], three.chi2, rtol=0.05)
    matrix, right = shared._equations(FORM, best.shape, best.own, some)
    for k in (0, 7, 8, 18):
        one = shared._equations(FORM, best.shape, best.own[k : k + 1], some.take([k]))
        assert_allclose(matrix[k], one[0][0], rtol=1e-12)
        assert_allclose(right[k], one[1][0], rtol=1e-9, atol=1e-9)


def test_products_of_many_pixels_are_those_of_all_at_once():
    columns = np.random.default_rng(1).normal(size=(2, 30, 700))
    assert len(list(shared._pieces(columns))) > 4
    wanted = np.einsum("sip,sjp->sij", columns, columns)
    assert_allclose(shared._products(columns), wanted, rtol=1e-12, atol=1e-11)


def test_leverages_are_the_diagonal_of_the_projection():
    stack = noisy_stack()
    found = shared.leverages(FORM, TRUTH, OWN, stack)
    step = 1e-5 * np.array([100.0, 1, 1, 1, 1, 1])
    for k in range(3):
        root = np.sqrt(stack.weights[k]).ravel()
        slopes = [
            (
                shared.models(FORM, TRUTH, OWN + h, stack)
                - shared.models(FORM, TRUTH, OWN - h, stack)
            )
            for h in np.diag(step)
        ]
        columns = np.stack([each[k].ravel() * root for each in slopes]) / step[:, None]
        orthogonal = np.linalg.qr(columns.T)[0]
        assert_allclose(found[k].ravel(), (orthogonal**2).sum(axis=1), atol=1e-5)


def test_stars_of_known_shape_are_measured_near_their_places():
    stack = noisy_stack(4)
    start = OWN.copy()
    start[:, 0], start[:, 1:3], start[:, 4:] = 0.0, OWN[:, 1:3] + 0.2, 0.0
    found = shared.fit_stars(FORM, TRUTH, start, stack, 6)
    assert_allclose(found[:, 0], OWN[:, 0], rtol=0.1)
    assert_allclose(found[:, 1:3], OWN[:, 1:3], atol=0.1)
    empty = stack._replace(data=np.zeros_like(stack.data))
    none = shared.fit_stars(FORM, TRUTH, start, empty, 3)
    assert_allclose(none[:, :3], np.column_stack([np.zeros(3), start[:, 1:3]]), atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_profiles_are_those_of_the_model(shape):
    form = Form(3, shape, "sample")
    q = free_of(form, WEIGHTS, SIGMAS, ELLIPSE)
    _, _, (e, d) = numbers_of(form, q)
    matrix = np.array([[e, d], [d, -e]])  # x before y
    size = max(np.hypot(e, d), 1e-9)
    whole = np.cosh(size) * np.eye(2) + np.sinh(size) / size * matrix
    psf = fg.psf_model(WEIGHTS, covariances=[s**2 * whole[::-1, ::-1] for s in SIGMAS])
    rows, columns = np.broadcast_arrays(DY[0][:, None], DX[0])
    wanted = fg.evaluate((columns, rows), [1.0, 0.0, 0.0, 0.0], psf)
    assert_allclose(values(form, q, DY[:1], DX[:1])[0], wanted, rtol=1e-11)


def test_a_shape_that_varies_is_solved_with_all_parameters_at_once():
    extent = Extent(100.0, 100.0)
    form, shape = with_order(FORM, TRUTH, 1, extent)
    slopes = np.array([0.1, -0.05, 0.1, -0.1, 0.1, 0.05])
    truth = shape + np.append(np.zeros(4), slopes)
    stack = noisy_stack(6)
    places = stack.middles()
    y, x = (places[:, ::-1].T + 0.5) / 50.0 - 1.0
    for k, q in enumerate(local(form, truth, places)):
        assert_allclose(q[0], TRUTH[0])
        rise = slopes[:3] * y[k] + slopes[3:] * x[k]
        assert_allclose(np.exp(q[1:3]), np.exp(TRUTH[1:3]) * (1 + rise[:2]), rtol=1e-12)
        assert_allclose(q[3], TRUTH[3] + rise[2], rtol=1e-12)
    step = 1e-6 * np.eye(form.whole)
    natural = np.stack(
        [np.hstack(numbers_of(form, local(form, truth + h, places)))[:, :5] for h in step]
    ) - np.stack([np.hstack(numbers_of(form, local(form, truth - h, places)))[:, :5] for h in step])
    assert_allclose(local_chain(form, truth, places), natural.transpose(1, 2, 0) / 2e-6, atol=1e-8)
    light = shared.models(form, truth, OWN, stack)
    noise = np.random.default_rng(6).normal(0.0, 0.3, light.shape)
    stack = stack._replace(data=light + noise, weights=np.where(stack.weights > 0, 0.3**-2, 0.0))

    def residuals(p):
        light = shared.models(form, p[: form.whole], p[form.whole :].reshape(3, 6), stack)
        return (np.sqrt(stack.weights) * (stack.data - light)).ravel()

    start = np.concatenate([truth, OWN.ravel()])
    best = least_squares(residuals, start, x_scale="jac", xtol=1e-12, ftol=1e-12, gtol=1e-12)
    found = shared.solve(form, shape, OWN * 1.005, stack, 2.0, 20.0)
    assert_allclose(found.objective, 2.0 * best.cost, rtol=1e-4)
    covariance = np.linalg.inv(best.jac.T @ best.jac)
    errors = np.sqrt(np.diagonal(covariance))[: form.whole]
    assert (np.abs(found.shape - best.x[: form.whole]) < 0.1 * errors).all()
    known = np.sqrt(np.diagonal(shared.covariances(form, found, stack).shape))
    assert_allclose(known, errors, rtol=0.03)


def test_a_further_component_varies_as_the_one_beside_it():
    form, shape = with_order(FORM, TRUTH, 1, Extent(100.0, 100.0))
    shape = shape + np.append(np.zeros(4), [0.1, -0.05, 0.1, -0.1, 0.1, 0.05])
    numbers = Numbers(np.array([0.6, 0.3, 0.1]), np.array([1.1, 2.3, 5.0]), np.array([0.2, 0.0]))
    more = with_component(form, shape, 2, numbers)
    wider = form._replace(components=3)
    found = numbers_of(wider, more[: wider.size])
    for each, wanted in zip(found, numbers, strict=True):
        assert_allclose(each, wanted, rtol=1e-12)
    assert_allclose(more[6:], [0.1, -0.05, -0.05, 0.1, -0.1, 0.1, 0.1, 0.05])
    assert is_sound_everywhere(wider, more, 20.0) and not is_sound_everywhere(wider, more, 5.01)
    more[wider.size] = -1.1  # the smallest sigma is negative at a border
    assert not is_sound_everywhere(wider, more, 20.0)


def test_a_known_sky_counts_as_a_measurement_of_the_planes():
    sky = Sky(OWN[:, 3:] + 0.3, np.array([[4.0, 1.0, 0.0]] * 3))
    stack = noisy_stack(5)._replace(sky=sky)

    def residuals(p):
        own = p[FORM.size :].reshape(3, 6)
        light = shared.models(FORM, p[: FORM.size], own, stack)
        pixels = np.sqrt(stack.weights) * (stack.data - light)
        known = np.sqrt(sky.precisions) * (sky.planes - own[:, 3:])
        return np.concatenate([pixels.ravel(), known.ravel()])

    start = np.concatenate([TRUTH, OWN.ravel()])
    best = least_squares(residuals, start, x_scale="jac", xtol=1e-12, ftol=1e-12, gtol=1e-12)
    found = shared.solve(FORM, TRUTH + 0.05, OWN * 1.01, stack, 2.0, 20.0)
    assert_allclose(found.objective, 2.0 * best.cost, rtol=1e-5)
    assert found.objective > found.chi2.sum()
    errors = np.sqrt(np.diagonal(np.linalg.inv(best.jac.T @ best.jac)))
    p = np.concatenate([found.shape, found.own.ravel()])
    assert (np.abs(p - best.x) < 0.05 * errors).all()
    known = shared.covariances(FORM, found, stack)
    own = np.sqrt(np.einsum("sii->si", known.own)).ravel()
    assert_allclose(own, errors[FORM.size :], rtol=1e-2)
