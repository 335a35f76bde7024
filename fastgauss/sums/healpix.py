"""Maps of the sphere in HEALPix: the pixel of a direction, and sums over pixels.

Directions are worked on in chunks, in the calling thread and some others. Sums are added up in
the order of the directions, chunk after chunk, by whichever thread is free to, while the others
find the pixels of the chunks that follow. So each sum has the bits of a plain loop. On three
threads or more, a map that the cache does not hold is added to in parts, each in that order but
at its own pace, so that several threads wait for memory at a time.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, thread_pool
from ..base.progress import Progress, check_progress, reporting
from ..kernels.sums.healpix import (
    DEGREES,
    MAX_NSIDE,
    RADIANS,
    Frame,
    add_in_order,
    first_invalid,
    make_pixels,
    sort_by_part,
)
from .chunk_reader import make_reader

_CHUNK = 1 << 15  # directions that one thread takes at a time
_WAITING = 32  # chunks that may wait to be added
_CACHED = 1 << 22  # bytes of a map that are added to as fast as pixels are found
_KINDS = tuple(map(np.dtype, (np.float32, np.float64, np.int32, np.int64)))
NONFINITE = ("raise", "drop")


class _Directions(NamedTuple):
    """What the arguments mean."""

    first: np.ndarray  # theta, or the latitude
    second: np.ndarray
    names: tuple[str, str]  # of the arguments that these two are
    frame: Frame
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of directions."""
        return math.prod(self.shape)


def _nside(value: Any, nest: bool) -> int:
    """A resolution that the order of pixels allows."""
    nside = check.integer("nside", value, at_least=1)
    if nside > MAX_NSIDE:
        raise ValueError(f"nside must be at most 2**29, got {nside}")
    if nest and nside & (nside - 1):
        raise ValueError(f"nside must be a power of 2 for nest=True, got {nside}")
    return nside


def _directions(theta: Any, phi: Any, lonlat: Any) -> _Directions:
    """Check the angles, but for their values."""
    unit = "deg" if check.flag("lonlat", lonlat) else "rad"
    given = tuple(
        check.real_array(name, value, unit=unit) for name, value in (("theta", theta), ("phi", phi))
    )
    try:
        shape = np.broadcast(*given).shape
    except ValueError:
        raise ValueError(
            f"theta of shape {given[0].shape} and phi of shape {given[1].shape} do not broadcast"
        ) from None
    if unit == "deg":
        return _Directions(given[1], given[0], ("phi", "theta"), DEGREES, shape)
    frame = RADIANS
    if given[0].dtype == np.float32:  # the float32 next to pi lies above it
        frame = frame._replace(largest=float(np.float32(math.pi)))
    return _Directions(given[0], given[1], ("theta", "phi"), frame, shape)


def _readers(*angles: np.ndarray, shape: tuple[int, ...]) -> list[Callable]:
    """A reader for each, whose chunks are used up before the next is read."""
    return [make_reader(array, shape, room=min(_CHUNK, math.prod(shape))) for array in angles]


def _invalid(sky: _Directions, position: int) -> ValueError:
    """The error that names what is wrong with one direction."""
    at = np.unravel_index(position, sky.shape)
    index = tuple(map(int, at))
    first, second = (np.broadcast_to(a, sky.shape)[index] for a in (sky.first, sky.second))
    if math.isfinite(second):
        name, value = sky.names[0], first
        expected = "within [0, pi]" if sky.names[0] == "theta" else "a latitude within [-90, 90]"
    else:
        name, value, expected = sky.names[1], second, "finite"
    where = f" at index {index}" if index else ""
    return ValueError(f"{name} must be {expected}, got {value}{where}")


def _check_values(sky: _Directions, drop: bool, threads: int | None) -> None:
    """Raise for the first pair of angles that is no direction, or is none though finite."""
    bad: list[int] = []

    def make_task() -> thread_pool.Task:
        readers = _readers(sky.first, sky.second, shape=sky.shape)

        def task(start: int, stop: int) -> None:
            found = first_invalid(*(read(start, stop) for read in readers), sky.frame, drop)
            if found < stop - start:
                bad.append(start + found)

        return task

    thread_pool.run(make_task, sky.size, _CHUNK, threads)
    if bad:
        raise _invalid(sky, min(bad))


def healpix_pixel(
    theta: ArrayLike,
    phi: ArrayLike,
    nside: int,
    nest: bool = False,
    lonlat: bool = False,
    *,
    nonfinite: str = "raise",
    threads: int | None = None,
) -> Any:
    """Numbers of the HEALPix pixels that directions fall into.

    Parameters
    ----------
    theta, phi : float or array
        Colatitude, 0 to pi from the north pole, and longitude in radians; with ``lonlat=True``
        longitude and latitude in degrees, as in healpy. Of any real dtype; they broadcast.
        Quantities with a unit of angle are converted.
    nside : int
        Pixels along a side of each of the twelve base pixels, 1 to 2**29; a power of 2 if
        `nest` is true.
    nest : bool
        Number the pixels in the nested order, not in rings.
    lonlat : bool
        Take longitude and latitude in degrees.
    nonfinite : {"raise", "drop"}
        What is done about directions of which an angle is NaN or infinite: an error, or the
        number -1, which `add_at` and `bin_statistics` leave out by their ``mode="drop"``.
    threads : int, optional
        Threads at most, for large jobs. The result does not depend on it.

    Returns
    -------
    int64 or array of int64
        Of the broadcast shape, 0 to 12 nside**2 - 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value; a `theta` outside [0, pi] is among
        them, and by default, as in healpy, what is NaN or infinite.

    Notes
    -----
    The pixels are those of healpy's ``ang2pix``, edges and corners of pixels included: angles
    within some 1e-13 of an edge are worked out by its operations in its order, in IEEE
    arithmetic without fused products. Beside some corners at the latitudes of sine 2/3 and -2/3,
    an ulp off, healpy's number is that of a pixel elsewhere or of none; here it is that of a
    pixel that meets the corner. float32 angles are taken for the float64 numbers that
    they are, also by ``lonlat``, where healpy computes in float32. About 2.6 ns a direction on
    one AVX-512 core, 3.3 nested, 20 to 30 above an nside of 2**24 or within 1e-13 of an edge.

    Examples
    --------
    >>> import fastgauss as fg
    >>> fg.healpix_pixel(1.0, [0.5, 2.0], nside=64)
    array([11156, 11217])
    >>> fg.healpix_pixel(2.0, 88.0, nside=64, nest=True, lonlat=True)
    np.int64(4091)
    """
    order = check.flag("nest", nest)
    side = _nside(nside, order)
    drop = check.choice("nonfinite", nonfinite, NONFINITE) == "drop"
    sky = _directions(theta, phi, lonlat)
    out = np.empty(sky.shape, dtype=np.int64)
    flat = out.reshape(-1)
    pixels = make_pixels(order)
    bad: list[int] = []

    def make_task() -> thread_pool.Task:
        readers = _readers(sky.first, sky.second, shape=sky.shape)

        def task(start: int, stop: int) -> None:
            angles = (read(start, stop) for read in readers)
            found = pixels(*angles, side, sky.frame, flat[start:stop])
            if found < stop - start:
                bad.append(start + found)

        return task

    thread_pool.run(make_task, sky.size, _CHUNK, threads)
    if bad and drop:
        _check_values(sky, drop, threads)
    elif bad:
        raise _invalid(sky, min(bad))
    return out[()]


def _side_of(array: np.ndarray, nside: Any, nest: bool) -> int:
    """The resolution of a map, which is given or follows from its size."""
    side = math.isqrt(array.size // 12) if nside is None else _nside(nside, nest)
    if array.size != 12 * side * side or not side:
        expected = "12 nside**2" if nside is None else f"12 * {side}**2 = {12 * side * side}"
        raise ValueError(f"map must have {expected} pixels, got {array.size}")
    return _nside(side, nest)


def _values(values: Any, sky: _Directions, whole: bool) -> np.ndarray:
    """What is to be added, which must not widen the shape of the directions."""
    array = check.real_array("values", values)
    if whole and array.dtype.kind == "f":
        raise TypeError(f"values must be integers for a map of integers, got dtype {array.dtype}")
    try:
        fits = np.broadcast_shapes(array.shape, sky.shape) == sky.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"values must broadcast to shape {sky.shape}, got {array.shape}")
    return array


class _InOrder:
    """Calls of one function in the order of their numbers, one at a time.

    Whoever brings the next one makes the calls that are due; nobody waits for a turn.
    """

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self._ready: dict[int, tuple] = {}
        self._next = 0
        self._busy = False
        self._changed = threading.Condition()

    def put(self, number: int, arguments: tuple) -> None:
        """Bring call ``number``."""
        with self._changed:
            self._ready[number] = arguments
            if self._busy or number != self._next:
                return
            self._busy = True
        while True:
            with self._changed:
                due = self._ready.pop(self._next, None)
                self._busy = due is not None
                self._changed.notify_all()
            if due is None:
                return
            self._call(*due)
            self._next += 1

    def hold_up(self) -> None:
        """Wait while too many calls have gathered; not for ever, as a failed thread makes none."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._ready) <= _WAITING, timeout=1.0)


class _Sums:
    """A map that chunks of pixels and weights are added to, in the order of their numbers."""

    def __init__(self, sums: np.ndarray, team: int) -> None:
        parted = team > 2 and sums.nbytes > _CACHED  # sorting costs what a second adder gains
        self._shift = (sums.size // min(2 * team, 64)).bit_length() - 1 if parted else 62
        parts = ((sums.size - 1) >> self._shift) + 1
        self._parts = [_InOrder(lambda *chunk: add_in_order(sums, *chunk)) for _ in range(parts)]

    def add(self, number: int, pixels: np.ndarray, weights: np.ndarray) -> None:
        """Add a chunk now or when those before it are there; one weight serves all pixels."""
        parts = self._parts
        if len(parts) == 1:
            parts[0].put(number, (pixels, weights))
        else:
            ends = np.empty(len(parts) + 2, dtype=np.int64)
            own = np.empty_like(pixels), np.empty_like(weights) if weights.size > 1 else weights
            sort_by_part(pixels, weights, self._shift, ends, *own)
            for turn in range(len(parts)):
                k = (turn + number) % len(parts)  # not all threads at the same part
                piece = slice(ends[k], ends[k + 1])
                parts[k].put(number, (own[0][piece], own[1][piece] if weights.size > 1 else own[1]))
        for part in parts:
            part.hold_up()


def healpix_add(
    map: np.ndarray,
    theta: ArrayLike,
    phi: ArrayLike,
    values: ArrayLike = 1,
    nside: int | None = None,
    nest: bool = False,
    lonlat: bool = False,
    *,
    nonfinite: str = "raise",
    threads: int | None = None,
    progress: bool | Progress = False,
) -> np.ndarray:
    """Add values to the pixels of a HEALPix map that directions fall into.

    Parameters
    ----------
    map : array (12 * nside**2,)
        Of dtype float32, float64, int32 or int64, added to in place.
    theta, phi : float or array
        As in `healpix_pixel`.
    values : number or array
        What to add, of any real dtype, integers or booleans to a map of integers; broadcasts to
        the shape of the directions.
    nside : int, optional
        The map's resolution; by default what its size says.
    nest, lonlat, threads
        As in `healpix_pixel`.
    nonfinite : {"raise", "drop"}
        What is done about directions of which an angle is NaN or infinite: an error, or nothing,
        as if they were not there.
    progress : bool or callable
        True shows a tqdm bar; a callable gets ``(done, total)``.

    Returns
    -------
    array
        The map.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value; then the map is as it was.

    Notes
    -----
    The same as ``np.add.at(map, pixels, values)``, bit for bit whatever the number of threads:
    what falls into a pixel is added in the order in which it comes, in float64; a float32
    map rounds each sum. Integers are added as integers, modulo what the map's dtype holds, as
    numpy does. NaN among the values goes to its pixel. About 5 ns a direction on one
    core where the map fits into the cache, 11 ns where it does not. Takes 17 MB of memory and
    1.5 MB a thread at most, and a copy of an argument that shares memory with the map.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> fg.healpix_add(np.zeros(12), [0.1, 1.5, 0.2], 0.3, [1.0, 2.0, 4.0])
    array([5., 0., 0., 0., 2., 0., 0., 0., 0., 0., 0., 0.])
    >>> fg.healpix_add(np.zeros(12, int), [0.1, np.nan, 0.2], 0.3, nonfinite="drop")
    array([2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    """
    memory = check.real_array("map", check.target("map", map), 1)
    sums = check.out_array("map", memory, memory.shape, _KINDS)
    order = check.flag("nest", nest)
    side = _side_of(sums, nside, order)
    drop = check.choice("nonfinite", nonfinite, NONFINITE) == "drop"
    sky = _directions(theta, phi, lonlat)
    dtype = np.int64 if sums.dtype.kind == "i" else np.float64
    given = _values(values, sky, dtype is np.int64)
    team = thread_pool.resolve_threads(threads)
    check_progress(progress)
    _check_values(sky, drop, team)
    sources = [
        source.copy() if np.may_share_memory(source, sums) else source
        for source in (sky.first, sky.second, given)
    ]
    one = given.reshape(1).astype(dtype) if given.size == 1 else None
    pixels = make_pixels(order)
    chunks = _Sums(sums, team)

    def make_task() -> thread_pool.Task:
        readers = _readers(*sources[:2], shape=sky.shape)
        read_weights = make_reader(sources[2], sky.shape, dtype)

        def task(start: int, stop: int) -> None:
            found = np.empty(stop - start, dtype=np.int64)
            pixels(*(read(start, stop) for read in readers), side, sky.frame, found)
            weights = read_weights(start, stop) if one is None else one
            chunks.add(start // _CHUNK, found, weights)

        return task

    with reporting(progress, sky.size, "direction") as report:
        thread_pool.run(make_task, sky.size, _CHUNK, team, report)
    return map
