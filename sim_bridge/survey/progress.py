"""Progress of units of work, on the terminal."""

from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from sim_bridge.survey.engines import UnitFailure, UnitOutcome


class _Rates(ProgressColumn):
    """Reports and links per second since the beginning."""

    def render(self, task: Task) -> Text:
        seconds = max(task.elapsed or 0.0, 1e-9)
        return Text(f"{task.fields['reports'] / seconds:,.0f} reports/s  {task.fields['links'] / seconds:,.0f} links/s")


def show_progress(outcomes: Iterable[UnitOutcome], total: int, title: str) -> list[UnitFailure]:
    """Show a bar on stderr until all units have come; returns those that failed."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rates(), TimeRemainingColumn()
    failures, reports, links = [], 0, 0
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total, reports=0, links=0)
        for outcome in outcomes:
            if isinstance(outcome, UnitFailure):
                failures.append(outcome)
            else:
                reports, links = reports + outcome.reports, links + outcome.links
            progress.update(task, advance=1, reports=reports, links=links)
    return failures
