"""Who imports whom, imports for types and those inside functions counted; and what a bare import costs.

The floors themselves are contracts of import-linter (`make check`); here stand the rules it has no contract for.
"""

from __future__ import annotations

import subprocess
import sys

import grimp
import pytest

HEAVY = ("matplotlib", "sklearn", "pandas", "scipy", "transformers", "jinja2", "typer", "pydantic", "captum", "shap")


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    """Module to the modules it imports."""
    built = grimp.build_graph("pellucid", exclude_type_checking_imports=False, cache_dir=None)
    return {module: set(built.find_modules_directly_imported_by(module)) for module in built.modules}


def test_no_circle(graph: dict[str, set[str]]) -> None:
    """Modules that lean on nothing, or that nothing leans on, are taken away again and again: circles stay."""
    left = dict(graph)
    while True:
        used = set().union(*left.values())
        inner = {module: imported & left.keys() for module, imported in left.items() if module in used}
        inner = {module: imported for module, imported in inner.items() if imported}
        if inner == left:
            break
        left = inner
    assert not left


def test_nobody_inside_uses_the_front_door(graph: dict[str, set[str]]) -> None:
    assert not sorted(module for module, imported in graph.items() if "pellucid" in imported)


def after(statement: str) -> set[str]:
    """The top-level packages that are loaded after ``statement`` in a fresh Python."""
    script = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}}, file=sys.stderr)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stderr.split())


@pytest.mark.parametrize("statement", ["import pellucid", "from pellucid import Model, IntegratedGradients, Class"])
def test_the_front_door_loads_nothing_heavy(statement: str) -> None:
    assert not after(statement) & set(HEAVY)


def test_help_does_without_torch() -> None:
    asked = "import contextlib\nfrom pellucid.cli import main\nsys.argv[1:] = ['--help']\n"
    asked += "with contextlib.suppress(SystemExit):\n    main()"
    assert not after(asked) & {"torch", "numpy", "matplotlib", "sklearn", "scipy", "transformers"}
