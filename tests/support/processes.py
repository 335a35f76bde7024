"""Code in processes of its own."""

import os
import subprocess
import sys
import textwrap


def python(code, *arguments, timeout=120, folder=None, **environment):
    """Run code, warnings being errors, in a new process; its standard output."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=folder,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
