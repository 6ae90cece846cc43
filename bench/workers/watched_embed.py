"""Run ``featx embed`` and count what it should not do: open files of the source, open a model."""

import os
import sys
from pathlib import Path

import clock
import onnxruntime

from featx.cli import main as command_line


def watch_files(folder: Path) -> list[str]:
    """Return a list that grows by every file below `folder` that Python opens."""
    opened: list[str] = []
    root = f"{folder.resolve()}{os.sep}"

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event == "open" and isinstance(args[0], str | bytes):
            path = os.path.abspath(os.fsdecode(args[0]))  # noqa: PTH100  (links stay as they are)
            if path.startswith(root):
                opened.append(path)

    sys.addaudithook(hook)
    return opened


def watch_sessions() -> list[str]:
    """Return a list that grows by every graph that ONNX Runtime loads."""
    graphs: list[str] = []

    class Watched(onnxruntime.InferenceSession):
        def __init__(self, path: str, *args: object, **others: object) -> None:
            graphs.append(str(path))
            super().__init__(path, *args, **others)

    onnxruntime.InferenceSession = Watched
    return graphs


def main() -> None:
    folder, arguments = Path(sys.argv[1]), sys.argv[2:]
    opened, graphs = watch_files(folder), watch_sessions()
    try:
        command_line(arguments)
    except SystemExit as ended:
        if ended.code:
            raise
    clock.say({"opened": len(opened), "sessions": len(graphs)})


if __name__ == "__main__":
    main()
