"""The parts of a report as HTML."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from html import escape
from shlex import quote
from statistics import median
from typing import NamedTuple

from mmmask.config_text import ABSENT, SURROUNDINGS
from mmmask.doctor import tool

from .charts import BOTTOM, LEFT, RIGHT, TOP, Curve, draw_chart
from .kinds import METRICS, Metric
from .runs import Point, Run
from .style import CSS, SCRIPT, run_rules

SHOWN = ('loss', 'lr', *METRICS)  # with a chart of their own
NOT_SHOWN = ('base_lr', 'time', 'data_time', 'iter', 'epoch')
FEW_DIFFERENCES = 12  # between configs, which are not folded
AXES = ('epochs', 'images')


class Shown(NamedTuple):
    """A picture of a report: a title, an address with the content in it, whether a later exists."""

    title: str
    source: str
    is_early: bool = False


def make_page(runs: Sequence[Run], pictures: Sequence[Sequence[Shown]], made_by: str) -> str:
    """Runs and the pictures of each run -> a report, which needs no other file and no network."""
    script = SCRIPT
    for name, value in dict(LEFT=LEFT, RIGHT=RIGHT, TOP=TOP, BOTTOM=BOTTOM).items():
        script = script.replace(name, str(value))
    title = ', '.join(run.name for run in runs)
    sections = (
        overview(runs),
        gaps(runs),
        curves(runs),
        speed(runs),
        show_pictures(runs, pictures),
        warnings(runs),
        commands(runs),
        environment(runs),
        configs(runs),
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="generator" content="{escape(made_by)}"><title>{escape(title)}</title>'
        f'<link rel="icon" href="data:,"><style>{CSS}{run_rules(len(runs))}</style></head><body>'
        f'<main><h1>Report on {count(len(runs), "run")}</h1>'
        f'<p class="soft">Made on {datetime.now():%Y-%m-%d at %H:%M}.</p>{legend(runs)}'
        f'{"".join(sections)}</main><script>{script}</script></body></html>\n'
    )


def count(number: int, noun: str) -> str:
    return f'{number:,} {noun}' if number == 1 else f'{number:,} {noun}s'


def section(title: str, *parts: str) -> str:
    """A section; nothing if it has no content."""
    content = ''.join(parts)
    return f'<section><h2>{escape(title)}</h2>{content}</section>' if content else ''


def legend(runs: Sequence[Run]) -> str:
    """The colour of each run, with a box to hide it, and the choice of the horizontal axis."""
    boxes = [
        f'<label data-run="{i}"><input type="checkbox" id="show-{i}" checked> '
        f'{name_of(i, run)}</label>'
        for i, run in enumerate(runs)
    ]
    axes = [
        f'<label><input type="radio" name="axis" id="over-{axis}"'
        f'{" checked" if axis == AXES[0] else ""}> over {axis}</label>'
        for axis in AXES
    ]
    return f'<div class="bar">{"".join([*boxes, *axes])}</div>'


def name_of(index: int, run: Run) -> str:
    swatch = f'<span class="swatch run-{index}"></span>'
    return f'<span class="name">{swatch}{escape(run.name)}</span>'


def table(rows: Iterable[tuple[str, Sequence[str]]], runs: Sequence[Run]) -> str:
    """Rows of a title and a text for each run -> a table with a column for each run."""
    head = ''.join(f'<th>{name_of(i, run)}</th>' for i, run in enumerate(runs))
    body = ''.join(
        f'<tr><th>{escape(title)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for title, cells in rows
    )
    return (
        f'<div class="wide"><table><thead><tr><th></th>{head}</tr></thead>'
        f'<tbody>{body}</tbody></table></div>'
    )


def overview(runs: Sequence[Run]) -> str:
    """What each run is and how far it came, and in what their configs differ."""
    rows = [(title, [read(run) or '–' for run in runs]) for title, read in FACTS.items()]
    rows = [row for row in rows if set(row[1]) != {'–'}]
    differing = differences(runs)
    different = ''
    if differing:
        is_open = ' open' if len(differing) <= FEW_DIFFERENCES else ''
        summary = f'<summary>{count(len(differing), "difference")} between the configs</summary>'
        different = f'<details{is_open}>{summary}{table(differing, runs)}</details>'
    return section('Overview', table(rows, runs), different)


def differences(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Keys of the configs whose values differ, with the value of each run."""
    if len(runs) < 2 or not all(run.config for run in runs):
        return []
    keys = dict.fromkeys(key for run in runs for key in run.config)
    rows = [(key, [repr(run.config.get(key, ABSENT)) for run in runs]) for key in keys]
    return [row for row in rows if len(set(row[1])) > 1 and not SURROUNDINGS.match(row[0])]


def last(points: Sequence[Point]) -> str:
    return f'{points[-1].value:.4g}' if points else ''


def course(metric: Metric) -> Callable[[Run], str]:
    """Reads the first, the last and the best value of a validation metric."""

    def read(run: Run) -> str:
        values = [point.value for point in run.scalars.get(metric.name, ())]
        if not values:
            return ''
        unit = f' {metric.unit}' if metric.unit else ''
        first, last, best = (
            f'{value:.{metric.decimals}f}' for value in (values[0], values[-1], max(values))
        )
        return f'{first} → {last}{unit}, best {best}{unit}'

    return read


def images_seen(run: Run) -> str:
    return f'{run.last_step * run.images_per_step:,}' if run.images_per_step else ''


def training_time(run: Run) -> str:
    points = run.scalars.get('time', ())
    steps = [0, *(point.step for point in points)]
    lengths = [later - earlier for earlier, later in zip(steps, steps[1:], strict=False)]
    seconds = sum(n * point.value for n, point in zip(lengths, points, strict=True))
    hours, minutes = divmod(round(seconds / 60), 60)
    return f'{hours} h {minutes:02d} min' if points else ''


def throughput(run: Run) -> list[Point]:
    """Images per second in the course of a run."""
    images = run.images_per_step
    times = run.scalars.get('time', ()) if images else ()
    return [Point(step, images / value) for step, value in times if value > 0]


def data_wait(run: Run) -> list[Point]:
    """The part of the time, in percent, in which the model waits for images."""
    waits = dict(run.scalars.get('data_time', ()))
    times = [point for point in run.scalars.get('time', ()) if point.step in waits]
    return [Point(step, 100 * waits[step] / value) for step, value in times if value > 0]


def middle(points: Sequence[Point], unit: str) -> str:
    return f'{median(point.value for point in points):.3g} {unit}' if points else ''


def config_value(key: str) -> Callable[[Run], str]:
    """Reads a value of the config; of a type, its name without the package."""
    return lambda run: str(run.config.get(key, '')).rpartition('.')[2]


FACTS: dict[str, Callable[[Run], str]] = {
    'state': lambda run: run.state,
    'method': config_value('model.type'),
    'backbone': config_value('model.backbone.type'),
    'images per step': lambda run: str(run.images_per_step or ''),
    'images seen, as logged': images_seen,
    'last loss': lambda run: last(run.scalars.get('loss', ())),
    **{f'{one.title}, first → last': course(one) for one in METRICS.values()},
    'throughput, median': lambda run: middle(throughput(run), 'images/s'),
    'data wait, median': lambda run: middle(data_wait(run), '% of the time'),
    'GPU memory, last': lambda run: f'{m} MB' if (m := last(run.scalars.get('memory', ()))) else '',
    'time of the steps': training_time,
    'seed': config_value('randomness.seed'),
    'starts': lambda run: str(len(run.starts)),
}


def gaps(runs: Sequence[Run]) -> str:
    """What a report lacks, and why."""
    found = [(index, run) for index, run in enumerate(runs) if run.missing]
    parts = [
        f'<h3>{name_of(index, run)}</h3>'
        f'<ul>{"".join(f"<li>{escape(text)}</li>" for text in run.missing)}</ul>'
        for index, run in found
    ]
    return section('Missing', *parts)


def figure(title: str, runs: Sequence[Run], series: Sequence[Sequence[Point]], unit: str) -> str:
    """A chart over epochs and one over images, of which the page shows one at a time."""
    label = f'{title}, {unit}' if unit else title
    drawn = []
    for axis in AXES:
        chart = over_axis(axis, runs, series, label)
        drawn.append(f'<div class="over-{axis}">{chart}</div>')
    return (
        f'<figure data-title="{escape(title)}"><h3>{escape(label)}</h3>{"".join(drawn)}'
        '<figcaption><output></output></figcaption></figure>'
    )


def over_axis(axis: str, runs: Sequence[Run], series: Sequence[Sequence[Point]], label: str) -> str:
    """A chart over epochs or images. Without epochs it is over iterations."""
    present = [
        (i, run, points) for i, (run, points) in enumerate(zip(runs, series, strict=True)) if points
    ]
    if axis == 'images':
        present = [one for one in present if one[1].images_per_step]
        if not present:
            return '<p class="missing">The batch is unknown, so there is nothing over images.</p>'
        curves = [
            Curve(i, [(p.step * run.images_per_step, p.value) for p in points])
            for i, run, points in present
        ]
        return draw_chart(curves, 'images', label)
    by_epoch = all(run.steps_per_epoch for _, run, _ in present)
    curves = [
        Curve(i, [(p.step / (run.steps_per_epoch if by_epoch else 1), p.value) for p in points])
        for i, run, points in present
    ]
    return draw_chart(curves, 'epochs' if by_epoch else 'iterations', label)


def figures(names: Iterable[str], runs: Sequence[Run]) -> list[str]:
    units = dict(memory='MB') | {name: metric.unit for name, metric in METRICS.items()}
    titles = dict(lr='learning rate') | {name: metric.title for name, metric in METRICS.items()}
    return [
        figure(
            titles.get(name, name),
            runs,
            [run.scalars.get(name, ()) for run in runs],
            units.get(name, ''),
        )
        for name in names
    ]


def curves(runs: Sequence[Run]) -> str:
    """Loss, learning rate and the main validation metrics; all other values are folded."""
    names = dict.fromkeys(name for run in runs for name in run.scalars)
    main = figures([name for name in SHOWN if name in names], runs)
    others = figures([name for name in names if name not in SHOWN + NOT_SHOWN], runs)
    folded = ''
    if others:
        folded = (
            f'<details><summary>{count(len(others), "more value")}</summary>'
            f'<div class="charts">{"".join(others)}</div></details>'
        )
    note = ''
    if len(runs) > 1 and len({run.config.get('model.type') for run in runs}) > 1:
        note = '<p class="soft">Losses of different methods cannot be compared.</p>'
    charts = f'<div class="charts">{"".join(main)}</div>' if main else ''
    return section('Curves', note if main else '', charts, folded)


def speed(runs: Sequence[Run]) -> str:
    """Throughput, and the wait for images, in the course of the training."""
    drawn = []
    for title, measure, unit in (
        ('throughput', throughput, 'images/s'),
        ('data wait', data_wait, '% of the time'),
    ):
        series = [measure(run) for run in runs]
        if any(series):
            drawn.append(figure(title, runs, series, unit))
    note = (
        '<p class="soft">Data wait is the part of a step in which the model waits for images: more '
        'workers or smaller source images reduce it.</p>'
    )
    return section('Speed', f'{note}<div class="charts">{"".join(drawn)}</div>' if drawn else '')


def show_pictures(runs: Sequence[Run], pictures: Sequence[Sequence[Shown]]) -> str:
    """The pictures of each run."""
    parts = []
    for index, (run, shown) in enumerate(zip(runs, pictures, strict=True)):
        if shown:
            drawn = [show_picture(one) for one in shown if not one.is_early]
            early = [show_picture(one) for one in shown if one.is_early]
            if early:
                summary = f'<summary>{count(len(early), "earlier picture")}</summary>'
                drawn.append(f'<details>{summary}{"".join(early)}</details>')
            parts.append(f'<h3>{name_of(index, run)}</h3>{"".join(drawn)}')
    return section('Pictures', *parts)


def show_picture(one: Shown) -> str:
    title = escape(one.title)
    return (
        f'<figure class="picture"><h3>{title}</h3>'
        f'<div class="wide"><img src="{one.source}" alt="{title}"></div></figure>'
    )


def warnings(runs: Sequence[Run]) -> str:
    """Warnings and errors of the logs."""
    parts = []
    for index, run in enumerate(runs):
        body = ''.join(
            f'<p class="entry"><span class="level">{escape(one.level.lower())}</span> '
            f'<span class="soft">{escape(one.moment)}, {count(one.count, "time")}</span><br>'
            f'{escape(one.text)}</p>'
            for one in run.warnings
        )
        body = body or '<p>None.</p>'
        parts.append(f'<h3>{name_of(index, run)}</h3>{body}')
    return section('Warnings', *parts)


def commands(runs: Sequence[Run]) -> str:
    """How to use the checkpoint of each run."""
    parts = []
    for index, run in enumerate(runs):
        if run.checkpoint and run.config_file:
            path, config = quote(str(run.checkpoint)), quote(str(run.config_file))
            tools = {name: quote(tool(f'{name}.py')) for name in ('train', 'test')}
            text = run.kind.commands.format(path=path, config=config, **tools)
            parts.append(f'<h3>{name_of(index, run)}</h3><pre><code>{escape(text)}</code></pre>')
    return section('Use the checkpoint', *parts)


def environment(runs: Sequence[Run]) -> str:
    """The machine and the versions of each run."""
    names = dict.fromkeys(name for run in runs for name in run.environment)
    rows = [(name, [run.environment.get(name, '–') for run in runs]) for name in names]
    return section('Environment', table(rows, runs) if rows else '')


def configs(runs: Sequence[Run]) -> str:
    """The whole config of each run, folded."""
    parts = [
        f'<details><summary>{name_of(index, run)}</summary>'
        f'<pre><code>{escape(run.config_text)}</code></pre></details>'
        for index, run in enumerate(runs)
        if run.config_text
    ]
    return section('Config', *parts)
