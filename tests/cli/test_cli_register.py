"""``fastgauss register``: what the two files may hold."""

import numpy as np

from fastgauss.cli.command import main


def test_a_stack_is_refused(tmp_path, capsys):
    image = np.random.default_rng(0).normal(size=(40, 44)).cumsum(0).astype(np.float32)
    np.save(tmp_path / "one.npy", image)
    np.save(tmp_path / "movie.npy", np.stack([image, image]))
    for names in (("movie.npy", "one.npy"), ("one.npy", "movie.npy")):
        assert main(["register", *(str(tmp_path / name) for name in names)]) == 2
        assert "must hold one image, got a stack of 2 frames" in capsys.readouterr().err
