"""Build hook: a wheel that contains compiled kernels.

Off by default. With the environment variable ``HATCH_BUILD_HOOK_ENABLE_CUSTOM=true`` the build of a
wheel compiles the kernels of everyday jobs for levels of x86-64, and the wheel is one for this
Python and this platform. The kernels are loaded where the installed numba is that of the build.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledKernels(BuildHookInterface):
    """Compiles before the wheel is written."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; an editable installation keeps its own compiled code."""
        if version == "editable":
            return
        folder = Path(self.root, "build", "precompiled")
        self.clean([])
        command = [sys.executable, "-m", "fastgauss.tools.precompilation", folder]
        settings = {**os.environ, "PYTHONPATH": self.root}
        subprocess.run(command, check=True, cwd=self.root, env=settings)
        build_data["force_include"][str(folder)] = "fastgauss/kernels/precompiled"
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def clean(self, versions: list[str]) -> None:
        """Remove what an earlier build has compiled."""
        for path in Path(self.root, "build", "precompiled").glob("*.nbc"):
            path.unlink()
