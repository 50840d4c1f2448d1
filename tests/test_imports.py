"""The import direction of the design, read off the sources without running them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From the top floor down. A file may import its own room and rooms on lower floors: neither upwards nor sideways.
FLOORS: tuple[dict[str, tuple[str, ...]], ...] = (
    {
        "the command line": ("nas/cli.py", "nas/command_line/"), "integrations": ("nas/integrations/",),
        "testing": ("nas/testing.py",), "from Python": ("nas/api.py", "nas/from_python/"),
    },
    {"commands": ("nas/commands/",)},
    {"compression": ("nas/compression/",)},
    {"tracking": ("nas/tracking/",)},
    {"executors": ("nas/executors/",)},
    {"first study": ("nas/first_study/",), "jobs": ("nas/jobs/",)},
    {
        "the way of the data": (
            "nas/evaluate.py", "nas/rung.py", "nas/recording.py", "nas/workbench.py", "nas/teacher.py",
            "nas/shipping.py", "nas/restoring.py", "nas/scanning.py", "nas/stock.py", "nas/built_teacher.py",
        ),
        "estimate": ("nas/estimate/",),
    },
    {"search": ("nas/search/",), "report": ("nas/report/",)},
    {"training": ("nas/training/",), "measuring": ("nas/measuring/",)},
    {"run folder": ("nas/run_folder/", "nas/tasks.py"), "runtimes": ("nas/runtimes/",)},
    {"candidates": ("nas/candidates/",), "data": ("nas/data/",)},
    {"study": ("nas/study/",)},
    {"samplers": ("nas/samplers/",)},
    {
        "ground": (
            "nas/__init__.py", "nas/records.py", "nas/objectives.py", "nas/front.py", "nas/pareto.py", "nas/files.py",
            "nas/machine.py", "nas/errors.py", "nas/registry.py", "nas/seeds.py", "nas/on_front.py",
            "nas/expected_gain.py", "nas/process.py",
        ),
    },
    {"compressors": ("compressors/",), "search_spaces": ("search_spaces/",)},
)  # fmt: skip
# Libraries that only some files may import.
LIBRARIES = {
    "optuna": ("nas/search/*.py", "nas/samplers/**/*.py"),
    "onnxruntime": ("nas/runtimes/**/*.py",),
    "openvino": ("nas/runtimes/**/*.py",),
    "ray": ("nas/executors/ray/*.py", "nas/integrations/*.py", "nas/jobs/ray.py"),
    "mlflow": ("nas/tracking/*.py",),
    "tensorboard": ("nas/tracking/*.py",),
    "psycopg": ("nas/search/*.py",),
}
WITHOUT_TORCH = (
    "search_spaces/architecture.py", "search_spaces/block_configs.py", "search_spaces/block_spaces.py",
    "search_spaces/kinds.py", "search_spaces/layers.py", "search_spaces/presets.py", "search_spaces/sites.py",
    "search_spaces/spaces.py", "search_spaces/trials.py", "search_spaces/parts.py", "search_spaces/protocols.py",
    "search_spaces/architectures.py", "search_spaces/existing/architecture.py", "search_spaces/existing/blueprint.py",
    "search_spaces/existing/blocks.py", "search_spaces/existing/executed.py", "search_spaces/existing/fields.py",
    "search_spaces/existing/groups.py", "search_spaces/existing/known.py", "search_spaces/existing/labels.py",
    "search_spaces/existing/layers.py", "search_spaces/existing/shapes.py", "search_spaces/existing/flows.py",
    "search_spaces/existing/edits.py", "search_spaces/existing/errors.py", "search_spaces/existing/ops.py",
    "search_spaces/existing/parts.py", "search_spaces/existing/space.py", "search_spaces/own_code.py",
    "search_spaces/own_kinds.py",
    "compressors/plan.py", "compressors/formats.py",
    "compressors/budgets.py", "compressors/requests/*.py", "compressors/step.py",
    "compressors/steps.py", "nas/errors.py", "nas/expected_gain.py", "nas/files.py", "nas/front.py", "nas/machine.py",
    "nas/objectives.py", "nas/on_front.py", "nas/pareto.py", "nas/process.py", "nas/records.py", "nas/seeds.py",
    "nas/tasks.py",
    "nas/candidates/*.py", "nas/study/*.py",
    "nas/measuring/agent/*.py", "nas/measuring/latency.py", "nas/measuring/places.py", "nas/measuring/turns.py",
    "nas/measuring/metrics.py", "nas/runtimes/onnx/layer_names.py",
    "nas/runtimes/onnx/strangers.py", "nas/measuring/calibration.py", "nas/measuring/latency_design.py",
    "nas/measuring/latency_kriging.py", "nas/measuring/latency_model.py",
    "nas/measuring/latency_regression.py", "nas/measuring/latency_similarity.py", "nas/measuring/latency_terms.py",
    "nas/cli.py", "nas/command_line/*.py", "nas/commands/threads.py",
    "nas/estimate/*.py", "nas/training/shares.py", "nas/commands/check.py", "nas/commands/cache.py",
    "nas/commands/data.py", "nas/commands/refusals.py", "nas/commands/steps.py",
    "nas/commands/submit.py", "nas/jobs/*.py", "nas/data/__init__.py",
    "nas/data/describe.py", "nas/data/tables.py", "nas/first_study/*.py",
    "nas/compression/wishes.py", "nas/compression/model.py", "nas/compression/settings.py", "nas/compression/plans.py",
    "nas/compression/finding.py", "nas/compression/logits.py", "nas/compression/comparison.py",
    "nas/compression/doubts.py", "nas/compression/page.py", "nas/compression/folder.py", "nas/compression/choosing.py",
    "nas/compression/given_data.py", "nas/compression/sizes.py", "nas/commands/compress_options.py",
    "nas/run_folder/*.py", "nas/samplers/**/*.py", "nas/search/*.py",
    "nas/report/**/*.py", "nas/tracking/*.py",
)  # fmt: skip
TORCH = {"torch", "torchvision"}


def sources(*patterns: str) -> list[str]:
    """Files of the project, relative to its root."""
    found = {path for pattern in patterns for path in ROOT.glob(pattern)}
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


ALL = sources("search_spaces/**/*.py", "compressors/**/*.py", "nas/**/*.py")


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


def place_of(path: str) -> tuple[int, str] | None:
    """Floor, counted from the top, and room of a file."""
    for number, floor in enumerate(FLOORS):
        for room, places in floor.items():
            if any(path == place or (place.endswith("/") and path.startswith(place)) for place in places):
                return number, room
    return None


def wrong_arrows(path: str, imports: Iterable[str]) -> list[str]:
    """`file (room) imports file (room)` for whatever lies on a higher floor, or beside the file's own room."""
    place, found = place_of(path), []
    for other in sorted({file for module in imports for file in files_of(module)} - {path}):
        target = place_of(other)
        assert place and target, f"{path if place is None else other}: belongs to no room"  # noqa: PT018
        if target[0] < place[0] or (target[0] == place[0] and target[1] != place[1]):
            found.append(f"{path} ({place[1]}) imports {other} ({target[1]})")
    return found


@pytest.mark.parametrize("path", [path for path in ALL if path != "nas/__init__.py"])
def test_imports_point_downwards(path: str) -> None:
    modules = {m for m in imports_of(path, deferred=True) if m != "nas"}
    arrows = [arrow for arrow in wrong_arrows(path, modules) if "imports nas/__init__.py" not in arrow]
    assert not arrows


def test_an_arrow_upwards_or_sideways_names_both_files() -> None:
    assert wrong_arrows("nas/pareto.py", ["nas.cli"]) == [
        "nas/pareto.py (ground) imports nas/cli.py (the command line)"
    ]
    beside = wrong_arrows("compressors/plan.py", ["search_spaces.layers"])
    assert "compressors/plan.py (compressors) imports search_spaces/layers.py (search_spaces)" in beside
    assert not wrong_arrows("nas/cli.py", ["nas.pareto", "nas.commands.run"])


def test_every_file_has_a_room() -> None:
    assert not [path for path in ALL if place_of(path) is None]


def test_no_two_files_import_each_other() -> None:
    """Nor any longer circle, what is imported late included."""
    arrows = {
        path: {
            file for module in imports_of(path, deferred=True) for file in files_of(module)
            if not file.endswith("__init__.py")
        } - {path}
        for path in ALL
    }  # fmt: skip
    while ends := [path for path, targets in arrows.items() if not targets & arrows.keys()]:
        for path in ends:
            del arrows[path]
    assert not arrows, f"a circle among {sorted(arrows)}"


@pytest.mark.parametrize("path", sources("search_spaces/**/*.py", "compressors/**/*.py"))
def test_leaves_know_nothing_of_searching(path: str) -> None:
    assert not tops(imports_of(path, deferred=True)) & {"nas", "optuna", "ray"}


@pytest.mark.parametrize("path", sources(*WITHOUT_TORCH))
def test_without_torch(path: str) -> None:
    assert not tops(imports_of(path, deferred=True)) & TORCH
    assert not tops(closure(path)) & TORCH


@pytest.mark.parametrize(
    "pattern", [*WITHOUT_TORCH, *(place for floor in FLOORS for room in floor.values() for place in room)]
)
def test_what_is_named_here_is_there(pattern: str) -> None:
    assert sources(pattern.removesuffix("/"))


@pytest.mark.parametrize(("library", "allowed"), LIBRARIES.items())
def test_only_some_files_import(library: str, allowed: tuple[str, ...]) -> None:
    importers = {path for path in ALL if library in tops(imports_of(path, deferred=True))}
    assert importers <= set(sources(*allowed) if allowed else ())
