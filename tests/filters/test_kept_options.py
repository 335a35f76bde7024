"""Options of filters that were checked before: what is kept is not taken for another option."""

import numpy as np
import pytest
from scipy import ndimage

import fastgauss as fg

IMAGE = np.random.default_rng(5).normal(size=(9, 12))


@pytest.mark.parametrize(
    ("option", "good", "bad"),
    [
        ("sigma", 1, True),
        ("sigma", 1.0, np.array([1.0, 1.0, 1.0])),
        ("order", 1, True),
        ("order", 1, 1.0),
        ("order", 1, np.float64(1.0)),
        ("sigma", np.float64(1.0), True),
        ("order", (1, 0), (True, 0)),
        ("truncate", 1, True),
        ("radius", 2, 2.0),
        ("radius", (2, 1), (2.0, 1)),
        ("axes", 1, True),
        ("axes", 0, 0.0),
        ("axes", (0, 1), (0, True)),
        ("mode", "wrap", b"wrap"),
    ],
)
def test_an_option_that_equals_a_good_one_is_refused_all_the_same(option, good, bad):
    for _ in range(2):
        fg.gaussian_filter(IMAGE, **{"sigma": 1.0, option: good})
    with pytest.raises((TypeError, ValueError), match=option):
        fg.gaussian_filter(IMAGE, **{"sigma": 1.0, option: bad})


@pytest.mark.parametrize("function", ["gaussian_filter", "gaussian_laplace"])
def test_results_do_not_depend_on_the_calls_before(function):
    """Shapes, dtypes, modes, widths and axes alternate; each result is that of scipy."""
    ours, theirs = getattr(fg, function), getattr(ndimage, function)
    images = [IMAGE, IMAGE.T, IMAGE[:, :5], IMAGE.astype(np.float32), IMAGE[0], IMAGE[None, :4]]
    for _ in range(2):
        for image in images:
            for sigma, mode in ((1.0, "reflect"), (1, "nearest"), (0.7, "wrap")):
                got = ours(image, sigma, mode=mode)
                rounding = 64 * np.finfo(got.dtype).eps
                np.testing.assert_allclose(
                    got, theirs(image, sigma, mode=mode), rtol=0, atol=rounding
                )


def test_what_is_kept_cannot_be_changed_by_the_caller():
    before = fg.gaussian_filter(IMAGE, 1.3)
    image = IMAGE.copy()
    fg.gaussian_filter(image, 1.3, out=image)
    assert np.array_equal(image, before)
    widths = [1.3, 1.3]
    assert np.array_equal(fg.gaussian_filter(IMAGE, widths), before)
    widths[0] = 0.0
    assert not np.array_equal(fg.gaussian_filter(IMAGE, widths), before)
