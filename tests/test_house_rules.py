"""Rules of the house that no linter checks."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from featx.cli import COMMANDS, main

PACKAGE = Path(__file__).parents[1] / "featx"
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST = 400


def documented() -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield each function or class that documents parameters, with those and the real ones."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                continue
            section = (ast.get_docstring(node) or "").partition("Parameters\n----------\n")[2]
            if section and (function := constructor(node)):
                lines = re.findall(r"^(\w[\w, ]*?)(?: :|$)", section.split("\n\n")[0], re.MULTILINE)
                names = [name for line in lines for name in line.split(", ")]
                yield f"{path.stem}.{node.name}", names, parameters(function)


def constructor(node: ast.FunctionDef | ast.ClassDef) -> ast.FunctionDef | None:
    if isinstance(node, ast.FunctionDef):
        return node
    functions = (child for child in node.body if isinstance(child, ast.FunctionDef))
    return next((child for child in functions if child.name == "__init__"), None)


def parameters(node: ast.FunctionDef) -> list[str]:
    given = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
    is_classmethod = any(ast.unparse(each) == "classmethod" for each in node.decorator_list)
    return [each.arg for each in given if each.arg != "self"][is_classmethod:]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize(
    ("names", "real"), [pytest.param(names, real, id=at) for at, names, real in documented()]
)
def test_documented_parameters_are_the_signatures(names: list[str], real: list[str]) -> None:
    assert names == real


@pytest.mark.parametrize("name", COMMANDS)
def test_a_listed_summary_is_the_commands_own(name: str) -> None:
    command = main.get_command(click.Context(main), name)

    assert command is not None
    assert (command.help or "").splitlines()[0] == COMMANDS[name]
