"""All tolerances of the suite, by what they judge: relative unless said otherwise."""

TOLERANCE = {
    "fit, default tol": 1e-7,  # parameters against scipy's tightest solution
    "fit covariance": 1e-5,  # against J'J by central differences
}
