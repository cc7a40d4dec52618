"""Results of a measurement, and their table."""

from typing import NamedTuple

from rich.table import Table


class Result(NamedTuple):
    """Costs of one candidate; None if a figure was not requested or cannot be measured here.

    Attributes:
        name: config or component.
        seconds: median time of a step.
        ratio: median over the rounds of its time over the first candidate's in the same round.
        images_per_second: batch size over that time.
        peak_memory: bytes; on CUDA the tensors of this candidate alone, on CPU the growth of the
            resident set from before it was built.
        flops: floating-point operations of forward and backward, twice the multiply-adds.
        utilization: fraction of the measured matrix-multiply ceiling that ``flops`` reach in the
            whole step.
        waiting: fraction of the time of real training spent waiting for data.
        profile: the operators that take longest, and the parts of a step.
        modules: number of imported modules.
    """

    name: str
    seconds: float
    ratio: float
    images_per_second: float | None
    peak_memory: int | None = None
    flops: int | None = None
    utilization: float | None = None
    waiting: float | None = None
    profile: str | None = None
    modules: int | None = None


class Report(NamedTuple):
    """Results of one run, the machine, and its matrix-multiply ceiling in operations per second."""

    results: list[Result]
    machine: dict
    ceiling: float | None = None


def make_table(report: Report) -> Table:
    """The results as a table with a row for each candidate, without empty columns."""

    def percent(fraction: float | None) -> str:
        return '' if fraction is None else f'{fraction:.1%}'

    results = report.results
    columns = {
        'step': [f'{result.seconds * 1e3:,.1f} ms' for result in results],
        'ratio': [f'{result.ratio:.3f}' for result in results],
        'images/s': [
            '' if result.images_per_second is None else f'{result.images_per_second:,.1f}'
            for result in results
        ],
        'peak memory': [
            '' if result.peak_memory is None else f'{result.peak_memory / 2**20:,.0f} MiB'
            for result in results
        ],
        'GFLOP/step': [
            '' if result.flops is None else f'{result.flops / 1e9:,.1f}' for result in results
        ],
        'of ceiling': [percent(result.utilization) for result in results],
        'waiting for data': [percent(result.waiting) for result in results],
        'modules': ['' if r.modules is None else f'{r.modules:,}' for r in results],
    }
    caption = '; '.join(f'{key} {value}' for key, value in report.machine.items())
    if report.ceiling:
        caption += f'; matrix-multiply ceiling {report.ceiling / 1e9:,.0f} GFLOP/s'
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    table = Table('', caption=caption)
    for name in columns:
        table.add_column(name, justify='right')
    for result, *cells in zip(results, *columns.values(), strict=True):
        table.add_row(result.name, *(cell or '-' for cell in cells))
    return table
