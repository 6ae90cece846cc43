"""The command line answers fast, helps, suggests and fails in one line."""

import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from featx.cli import COMMANDS, main

HEAVY = {"numpy", "onnxruntime", "faiss", "sklearn", "pyarrow"}
LIST_MODULES = """
import sys
from featx.cli import main
try:
    main({argv!r}, prog_name="featx")
except SystemExit as end:
    assert end.code == 0
print("LOADED", *sorted(sys.modules))
"""


@pytest.mark.parametrize("argv", [["--help"], ["embed", "--help"], ["--version"]], ids=" ".join)
def test_help_imports_nothing_heavy(argv: list[str]) -> None:
    command = [sys.executable, "-c", LIST_MODULES.format(argv=argv)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    loaded = {name.partition(".")[0] for name in output.partition("LOADED")[2].split()}
    assert "featx" in loaded
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"], prog_name="featx")

    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: featx {name} ")


def test_a_misspelt_command_is_suggested() -> None:
    result = CliRunner().invoke(main, ["modles"])

    assert result.exit_code == 2
    assert "no such command 'modles'; did you mean 'models'?" in result.stderr


def test_an_expected_error_is_one_line() -> None:
    result = CliRunner().invoke(main, ["models", "info", "minilm-16"])

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "error: unknown model 'minilm-16'; did you mean 'minilm-l6'?\n"


def test_shell_completion_is_printed() -> None:
    command = [sys.executable, "-m", "featx"]
    environment = os.environ | {"_FEATX_COMPLETE": "bash_source"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)

    assert "_FEATX_COMPLETE=bash_complete" in done.stdout


def test_the_listed_commands_are_the_tables() -> None:
    assert main.list_commands(click.Context(main)) == list(COMMANDS)
