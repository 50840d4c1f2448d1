"""The import direction of the design, read off the sources without running them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("search_spaces", "compressors", "nas")
LEAVES = {
    "search_spaces": {"compressors", "nas", "optuna", "ray"},
    "compressors": {"search_spaces", "nas", "optuna", "ray"},
}
OPTUNA = ("nas/search.py", "nas/storage.py", "nas/importance.py", "nas/samplers.py")
WITHOUT_TORCH = (
    "search_spaces/architecture.py", "search_spaces/spaces.py", "compressors/plan.py", "nas/errors.py",
    "nas/records.py", "nas/study/*.py", "nas/metrics.py", "nas/checking.py", "nas/data/__init__.py", "nas/candidate.py",
    "nas/pareto.py", "nas/samplers.py", "nas/report/**/*.py",
)  # fmt: skip
TORCH = {"torch", "torchvision"}


def sources(*patterns: str) -> list[str]:
    """Files of the project, relative to its root."""
    found = {path for pattern in patterns for path in ROOT.glob(pattern)}
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


ALL = sources(*(f"{room}/**/*.py" for room in ROOMS))


def imported(tree: ast.AST) -> Iterator[str]:
    """Every name that an import in `tree` may stand for as a module: `from a import b` gives a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "imports are absolute here"  # noqa: PT018
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def drop_deferred(tree: ast.Module) -> ast.Module:
    """What runs when the module is imported: no function bodies, no blocks for type checkers."""

    class Deferred(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST:
            if ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
                node.body = [ast.Pass()]
            return self.generic_visit(node)

    result = Deferred().visit(tree)
    assert isinstance(result, ast.Module)
    return result


@cache
def imports_of(path: str, *, deferred: bool) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(imported(tree if deferred else drop_deferred(tree)))


def tops(modules: frozenset[str] | set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def files_of(module: str) -> list[str]:
    """The project files that run when `module` is imported: its packages and itself."""
    parts = module.split(".")
    heads = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
    return [file for head in heads for file in (f"{head}/__init__.py", f"{head}.py") if file in ALL]


def closure(path: str) -> set[str]:
    """All modules that importing the file at `path` imports, directly or through the project."""
    name = path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    waiting, seen, modules = {path, *files_of(name)}, set[str](), set[str]()
    while waiting:
        file = waiting.pop()
        seen.add(file)
        found = imports_of(file, deferred=False)
        modules |= found
        waiting |= {other for module in found for other in files_of(module)} - seen
    return modules


def test_the_reader_sees_imports_wherever_they_stand() -> None:
    text = (
        "import a.b\nfrom c import d\nif TYPE_CHECKING:\n    import e\nelse:\n    import f\n"
        "class K:\n    import g\n    def m(self):\n        import h\n"
        "try:\n    import i\nexcept ImportError:\n    pass\n"
    )
    assert set(imported(ast.parse(text))) == {"a.b", "c", "c.d", "e", "f", "g", "h", "i"}
    assert set(imported(drop_deferred(ast.parse(text)))) == {"a.b", "c", "c.d", "f", "g", "i"}


def test_the_closure_follows_project_modules() -> None:
    assert "nas/study/study.py" in ALL
    assert files_of("nas.study.Study") == ["nas/__init__.py", "nas/study/__init__.py"]
    assert {"pydantic", "search_spaces.spaces", "search_spaces.architecture"} <= closure("nas/study/file.py")


@pytest.mark.parametrize("path", sources("search_spaces/**/*.py", "compressors/**/*.py"))
def test_leaves_know_nothing_of_each_other_nor_of_searching(path: str) -> None:
    assert not tops(imports_of(path, deferred=True)) & LEAVES[path.partition("/")[0]]


@pytest.mark.parametrize("path", sources(*WITHOUT_TORCH))
def test_without_torch(path: str) -> None:
    assert not tops(imports_of(path, deferred=True)) & TORCH
    assert not tops(closure(path)) & TORCH


@pytest.mark.parametrize("pattern", [*WITHOUT_TORCH, *OPTUNA])
def test_what_is_named_here_is_there(pattern: str) -> None:
    assert sources(pattern)


@pytest.mark.parametrize(("library", "allowed"), [("optuna", OPTUNA), ("ray", ())])
def test_only_some_files_import(library: str, allowed: tuple[str, ...]) -> None:
    importers = {path for path in ALL if library in tops(imports_of(path, deferred=True))}
    assert importers <= set(sources(*allowed))
