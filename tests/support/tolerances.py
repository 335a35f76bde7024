"""All tolerances of the suite, by what they judge: relative unless said otherwise."""

TOLERANCE = {
    "ulp": {  # units of the last place, as the docstrings state
        "exp_negative": 0.85,
        "exp_flushed": 0.85,
        "exp": 0.85,
        "exp, denormal": 1.0,
        "exp, float32": 1.1,
        "log": 1.0,
        "erf": 1.5,
        "erfc": 4.5,
        "erfcx": 4.0,
        "sin_octant": 0.8,
    },
    "exp to float32": 3.1e-9,
    "profile": 3e-14,  # times 1 + z**2 / 100 at z sigmas: the rounding of z moves it so far
    "evaluate": 1e-13,
    "jacobian": 1e-12,
    "render": {"float64": 1e-12, "float32": 3e-6},  # absolute, in the sum of amplitudes
    "5-point quadrature": 3e-8,  # of means over pixels, sigma of 1 spacing, absolute
    "dot test": {"float64": 1e-13, "float32": 1e-6},  # in the sum of magnitudes
    "field gradient": 1e-9,  # in the largest of its kind
    "field gradient, float32": 1e-5,
    "finite difference": 1e-5,
    "deposit": {"float64": 4e-15, "float32": 1e-6},  # absolute, in the sum of values
    "fit, default tol": 1e-7,  # parameters against scipy's tightest solution
    "fit covariance": 1e-5,  # against J'J by central differences
    "fit, standard errors": 1e-5,  # parameters against the twin's, absolute, in their errors
    "fit objective": 1e-9,
    "fit errors": 1e-5,  # against those at the twin's solution
    "joint objective": 1e-6,  # in one spot's box, which is not where it is least
    "joint covariance": 1e-10,  # of small systems, against LAPACK
    "joint step": 1e-2,  # of conjugate gradients, in the norm of the matrix
    "joint errors, chain": 0.01,  # of 25 spots, whose twelfth neighbours are left out
    "ten rotated spots": 1e-5,  # absolute, without noise
    "far light": 0.02,  # in errors: what light below 2 % of the noise moves
    "dot product": 1e-13,  # <A s, v> against <s, A' v>, relative to their norms
    "gram": 1e-14,  # absolute, in units of the largest entry
    "amplitudes": 1e-8,  # at tol 1e-11, in units of the largest
    "amplitude errors": 1e-9,
    "density": 2e-15,  # sums over all pairs, absolute, in units of their peak
    "lines": 1e-9,  # coefficients, in units of the largest of a row
    "isj": 2e-3,  # bandwidth against that of sums over pairs
    "ulp of gain": {"filter": 4.0, "direct": 4.0, "fft": 16.0},  # of the largest possible result
    "spline weights": 1e-15,  # absolute
    "registration": 1e-5,  # pixels, against the twin
    "registration, crops": 2e-3,  # pixels, without noise: filters see beyond the border
    "correlation": 1e-11,  # absolute, of values of order 1
}
