"""Progress of units of work, on the terminal."""

from collections import Counter
from collections.abc import Callable, Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from sim_bridge.engines.units import UnitFailure, UnitOutcome


class _Rates(ProgressColumn):
    """What was made per second since the beginning, and which unit was the last."""

    def render(self, task: Task) -> Text:
        seconds = max(task.elapsed or 0.0, 1e-9)
        rates = [f"{count / seconds:,.0f} {name}/s" for name, count in task.fields["counts"].items()]
        return Text("  ".join([*rates, *filter(None, [task.fields["last"]])]))


def show_progress(
    outcomes: Iterable[UnitOutcome], total: int, title: str, on_done: Callable[[int], None] | None = None
) -> list[UnitFailure]:
    """Show a bar on stderr until all units have come; returns those that failed.

    Args:
        outcomes: of the units, as they come.
        total: number of units.
        title: what they are, before the bar.
        on_done: called with the number of each unit that was made.
    """
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rates(), TimeRemainingColumn()
    failures, counts = list[UnitFailure](), Counter[str]()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total, counts=counts, last="")
        for outcome in outcomes:
            if isinstance(outcome, UnitFailure):
                failures.append(outcome)
                progress.update(task, advance=1)
                continue
            counts.update(outcome.counts)
            progress.update(task, advance=1, last=outcome.text)
            if on_done is not None:
                on_done(outcome.number)
    return failures
