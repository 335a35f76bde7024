"""All tolerances of the suite, by what they judge: relative unless said otherwise."""

TOLERANCE = {
    "ulp": {  # units of the last place, as the docstrings state
        "exp_negative": 0.8,
        "exp": 0.8,
        "expm1_negative": 2.0,
        "log": 1.0,
        "erf": 2.0,
        "erfc": 4.0,
    },
    "evaluate": 1e-13,
    "jacobian": 1e-12,
    "fit, default tol": 1e-7,  # parameters against scipy's tightest solution
    "fit covariance": 1e-5,  # against J'J by central differences
}
