"""Files and modules that docstrings, comments and pages name are there."""

import ast
import importlib
import io
import re
import tokenize
from pathlib import Path

import fastgauss

PACKAGE = Path(fastgauss.__file__).parent
ROOT = Path(__file__).resolve().parents[2]
FILE = re.compile(r"(?<![\w/.<~-])((?:[\w.-]+/)+[\w-]+\.(?:py|md))\b")
NEW = re.compile(r"^:caption: (\S+)$", re.MULTILINE)  # a file that a recipe adds
DIRECTIVE = re.compile(r"\{docstring\} ([\w/]+\.py)")
MODULE = re.compile(r"(`+)((?:fastgauss|kernels)(?:\.\w+)+)\1")
OLD = re.compile(r"(`+)(_[a-z]\w*)(?:\.\w+)*\1")  # a private name, or a file that was called so


def texts(path):
    """The docstrings and comments of a file of Python, or a page as it is."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        yield source
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def identifiers(path):
    """All names of a file of Python that are no part of a text."""
    with path.open(encoding="utf-8") as lines:
        tokens = list(tokenize.generate_tokens(lines.readline))
    return {token.string for token in tokens if token.type == tokenize.NAME}


def exists(name, page):
    """Whether a file is there: seen from the page, the checkout, the package, the benchmarks."""
    folders = (page.parent, ROOT, PACKAGE, ROOT / "benchmarks")
    return any((folder / name).is_file() for folder in folders)


def resolves(name):
    """Whether a dotted name is a module, or a name in one."""
    parts = name.removeprefix("fastgauss.").split(".")
    value = fastgauss
    for i, part in enumerate(parts):
        if not hasattr(value, part):
            try:
                importlib.import_module(".".join(["fastgauss", *parts[: i + 1]]))
            except ImportError:
                return False
        value = getattr(value, part)
    return True


def unknown(page):
    """What the texts of a page or a file name that is not there."""
    known = identifiers(page) if page.suffix == ".py" else None
    for text in texts(page):
        new = NEW.findall(text)
        named = (name for name in FILE.findall(text) if name not in new)
        yield from (name for name in named if not exists(name, page))
        yield from (name for name in DIRECTIVE.findall(text) if not (PACKAGE / name).is_file())
        yield from (name for _, name in MODULE.findall(text) if not resolves(name))
        if known is not None:
            yield from (name for _, name in OLD.findall(text) if name not in known)


def test_what_texts_name_is_there():
    pages = [*ROOT.glob("*.md"), *PACKAGE.rglob("*.py")]
    for folder in ("benchmarks", "docs", "examples", "tests", ".ci"):
        pages += [p for p in (ROOT / folder).rglob("*.*") if p.suffix in {".py", ".md"}]
    made = {"_build", "_pictures", "generated"}
    pages = [page for page in pages if not made & set(page.parts)]
    assert len(pages) > 200
    recipes = ROOT / "docs" / "contributing"  # these pages make the files that they name
    pages = [page for page in pages if recipes not in page.parents]
    missing = {page.relative_to(ROOT).as_posix(): list(unknown(page)) for page in pages}
    assert not {page: names for page, names in missing.items() if names}


def test_a_name_of_nothing_is_told(tmp_path):
    page = tmp_path / "page.py"
    page.write_text(
        '"""See ``kernels/fit/levmar.py``, ``kernels.make_add``, `fastgauss.sums`, `_here`.\n'
        'Not ``kernels/levmar.py``, ``kernels.lines``, `fastgauss.field`, ``_gone``."""\n'
        "_here = 1  # as docs/nowhere.md has it\n"
    )
    assert list(unknown(page)) == [
        "kernels/levmar.py", "kernels.lines", "fastgauss.field", "_gone", "docs/nowhere.md",
    ]  # fmt: skip
    page = tmp_path / "page.md"
    page.write_text(
        "[a page](page.md), [another](../other/page.md)\n```{docstring} field.py\n```\n"
    )
    assert list(unknown(page)) == ["../other/page.md", "field.py"]
