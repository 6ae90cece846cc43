"""Progress bars of a command with several stages."""

import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm


@dataclass(slots=True)
class Bars:
    """One bar a stage, on a terminal only; they end with the stack."""

    stack: ExitStack
    drawn: "dict[str, tqdm[Any]]" = field(default_factory=dict)

    def progress(self, stage: str, done: int, total: int) -> None:
        """Draw how many items of a stage are done; both numbers may change either way."""
        from tqdm import tqdm

        if stage not in self.drawn:
            hidden = not sys.stderr.isatty()
            bar = tqdm(unit="item", desc=stage, disable=hidden)
            self.drawn[stage] = self.stack.enter_context(bar)
        bar = self.drawn[stage]
        bar.total = total
        bar.update(done - bar.n)
