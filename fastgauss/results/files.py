"""Files of results: written and read, in this package's own formats and those of other programs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..base import check

if TYPE_CHECKING:
    from .fit_result import FitResult


class Files:
    """The methods of `FitResult` that write and read files, and what only files need."""

    _pixel_size: float | None

    @property
    def pixel_size(self) -> float | None:
        """Side of a pixel in nm, if it is known."""
        return self._pixel_size

    @pixel_size.setter
    def pixel_size(self, value: float | None) -> None:
        self._pixel_size = None if value is None else check.number("pixel_size", value, above=0.0)

    def save(
        self: Any,
        path: str | os.PathLike,
        format: str | None = None,
        *,
        pixel_size: float | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        """Write this result to a file, completely or not at all; `load` reads it.

        Parameters
        ----------
        path : path-like
            Ends in .parquet, .npz, .ecsv, .fits, .json or .csv. All but CSV keep everything, to the
            bit: the columns of `to_dict`, a column ``covariance`` (lower triangles, row by row)
            and, as metadata, the model, the background and (not in NPZ) units and (nor in JSON)
            meanings. CSV holds the columns of `to_dict` exactly, and model, pixel and absolute as
            text; correlations and the background of a joint fit are lost. A name in .hdf5 is a file
            of picasso.
        format : {"picasso", "thunderstorm", "smap", "trackpy", "trackmate"}, optional
            Write what this program reads. These formats have no place for status, goodness of fit
            and correlations: save the good spots, ``result[result.converged]``. picasso's is an
            .hdf5 file with a .yaml file beside it, the others are .csv. The guide says which column
            becomes which.
        pixel_size : float, optional
            Side of a pixel in nm, which the file tells; by default that of the result. ThunderSTORM
            and SMAP need it; TrackMate's table is in microns with it, else in pixels.
        shape : (int, int), optional
            Height and width of the frames, which picasso's metadata tell; by default those of the
            smallest frame that has all spots.

        Raises
        ------
        TypeError, ValueError
            If the name has another ending, an argument is of a wrong kind or missing, or the format
            cannot hold this result: spots of volumes and profiles in formats of other programs, a
            model with constants (astigmatic, point spread function) in CSV.
        OSError, ImportError
            If the file cannot be written, or a library is missing: Parquet needs pyarrow, ECSV
            and FITS need astropy, HDF5 needs h5py and pyyaml.

        Examples
        --------
        >>> import tempfile, pathlib, fastgauss as fg
        >>> image = fg.image([50.0, 20.1, 24.6, 1.5, 8.0], (48, 48), model="symmetric")
        >>> result = fg.fit_spots(image)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result.save(pathlib.Path(folder, "spots.npz"))
        ...     again = fg.FitResult.load(pathlib.Path(folder, "spots.npz"))
        ...     result.save(pathlib.Path(folder, "spots.csv"), "thunderstorm", pixel_size=107.0)
        ...     in_nm = fg.FitResult.load(pathlib.Path(folder, "spots.csv"), pixel_size=107.0)
        >>> bool((again.covariance == result.covariance).all()), in_nm.x.round(3)
        (True, array([20.1]))
        """
        from .exchange import save

        save(self, path, format, pixel_size, shape)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike,
        format: str | None = None,
        *,
        pixel_size: float | None = None,
    ) -> FitResult:
        """Read a result that `save` or the command ``fastgauss fit`` wrote, or another program.

        From a CSV, covariances of two different parameters are NaN. A table that `save` did not
        write is read as a result of the model whose parameters are among its columns; without
        the columns of `to_dataframe` that say more, pixel is "sample" and absolute is False.

        A table of another program has no status: spots whose position is finite are CONVERGED. What
        its format does not hold is NaN; the amplitude follows from the flux and the widths. Where
        the widths along x and y differ, the model is "elliptic", else "symmetric".

        Parameters
        ----------
        path : path-like, pandas DataFrame or astropy Table
            As for `save`; or what `to_dataframe` gave, or `to_table` in pixels. A table has no
            correlations and no `at_bound`.
        format : {"picasso", "thunderstorm", "smap", "trackpy", "trackmate"}, optional
            The program that wrote the file; by default its ending and its header say that.
        pixel_size : float, optional
            Side of a pixel in nm, which the result keeps; by default what the file says. Tables in
            nm or microns need it: those of ThunderSTORM and SMAP, and TrackMate's unless it is in
            pixels.

        Raises
        ------
        FileNotFoundError, TypeError, ValueError
            If there is no such file, the file holds no result, or an argument is of a wrong kind or
            missing.
        ImportError
            If pyarrow (for Parquet), astropy (for ECSV and FITS), h5py or pyyaml (for HDF5) is
            missing.

        Examples
        --------
        See `save`.
        """
        from .exchange import load

        model, rows, facts = load(path, format, pixel_size)
        return cls(model, rows, **facts)  # type: ignore[call-arg, return-value]
