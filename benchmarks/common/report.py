"""Tables of rates beside peers, filled into the pages by ``benchmarks.comparisons.peers --write``.

A page holds ``<!-- name -->`` and ``<!-- /name -->``; what stands between them is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

US = "fastgauss"
SUMMARY_SIZE = "11 x 11"


class Rate(NamedTuple):
    """What one package did in one job."""

    job: str
    size: str
    package: str
    per_second: float
    ratio: float  # our speed by theirs

    def __str__(self) -> str:
        if self.package == US:
            return f"**{self.per_second:,.0f}**"
        faster = f"{self.ratio:,.0f}" if self.ratio >= 100 else f"{self.ratio:.3g}"
        return f"{self.per_second:,.0f} ({faster}x)"


def _label(job: str) -> str:
    """The job in words, without what all have in common."""
    words = {"fit": "", "mle": "likelihood", "integrate": "integrated"}
    return ", ".join(filter(None, (words.get(word, word) for word in job.split())))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def tables(rates: Sequence[Rate]) -> str:
    """All rates: planar fits with sizes across, other fits and finding in tables of their own."""
    parts = []
    planar = [rate for rate in rates if rate.size.count("x") == 1 and rate.job != "find"]
    sizes = _unique(rate.size for rate in planar)
    cells = {(rate.job, rate.package, rate.size): str(rate) for rate in planar}
    rows = [
        [f"{_label(job)}, {package}", *(cells.get((job, package, size), "") for size in sizes)]
        for job, package in _unique((rate.job, rate.package) for rate in planar)
    ]
    if rows:
        parts.append(_table(["fits a second, one thread", *sizes], rows))
    rest = [rate for rate in rates if rate not in planar]
    for what, unit in (("fit", "fits"), ("find", "spots")):
        rows = [[_label(r.job), r.size, r.package, str(r)] for r in rest if r.job.startswith(what)]
        if rows:
            head = [f"{what}, one thread", "size", "package", f"{unit} a second"]
            parts.append(_table(head, rows))
    return "\n\n".join(parts)


def summary(rates: Sequence[Rate]) -> str:
    """One size of each job: ours, the fastest other package, and scipy with its Jacobian."""
    rows = []
    for job, size in _unique((rate.job, rate.size) for rate in rates):
        if size.count("x") == 1 and size != SUMMARY_SIZE and job != "find":
            continue
        peers = {rate.package: rate for rate in rates if (rate.job, rate.size) == (job, size)}
        ours = peers.pop(US)
        scipy = peers.pop("scipy leastsq", "")
        others = [rate for name, rate in peers.items() if not name.startswith("scipy")]
        best = max(others, key=lambda rate: rate.per_second, default=None)
        named = f"{best.package} {best}" if best else ""
        rows.append([_label(job), size, str(ours), named, str(scipy)])
    speed = "fits (or spots found) a second, one thread"
    head = [speed, "size", US, "the fastest other package", "scipy leastsq"]
    return _table(head, rows)


def fill(page: Path, name: str, text: str) -> None:
    """Put the text between the two marks of a page."""
    old = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), flags=re.DOTALL)
    new, count = pattern.subn(lambda _: f"{begin}\n{text}\n\n{end}", old)
    if count != 1:
        raise ValueError(f"{page} must hold {begin.strip()} ... {end} once, got {count}")
    page.write_text(new, encoding="utf-8")
