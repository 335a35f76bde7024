"""The package as it is installed here does its main job: seconds, nothing but its own needs."""

import sys
from importlib import metadata
from pathlib import Path

import numpy as np

import fastgauss as fg

assert "site-packages" in Path(fg.__file__).parts, f"not the installed package: {fg.__file__}"
y, x = np.mgrid[:11, :11]
roi = 100 * np.exp(-((x - 5.2) ** 2 + (y - 4.9) ** 2) / (2 * 1.3**2)) + 10
result = fg.fit_rois(roi[np.newaxis])
assert result.converged.all() and abs(result.x[0] - 5.2) < 1e-6, result
fg.add_at(total := np.zeros(3), np.array([0, 2, 2]), np.ones(3))
assert total.tolist() == [1, 0, 2], total
drawn = fg.render((11, 11), [[4.9, 5.2]], 100.0, 1.3)
np.testing.assert_allclose(drawn, roi - 10, atol=0.1)
versions = (f"{name} {metadata.version(name)}" for name in ("numba", "numpy", "scipy"))
print(f"Python {sys.version.split()[0]},", ", ".join(versions), "|", result)
