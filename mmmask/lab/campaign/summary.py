"""The tables and the plots of a campaign."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle
from statistics import mean

from matplotlib.figure import Figure
from PIL import Image

from mmmask.outputs import MARK, OutputFolder
from mmmask.visualization import figure_pixels

from .declaration import Campaign
from .reading import key
from .runs import BASELINES, COSTS, Run, list_runs
from .statistics import Estimate, estimate, paired_difference

Results = Mapping[str, dict]

RANDOM = 'random weights of '
BASELINE_LINES = ':', '--'
NUM_COLORS, MARKERS = 10, 'osD^v'


def write_summary(campaign: Campaign, results: Results, output: OutputFolder) -> str:
    """Write ``README.md``, ``accuracy.png`` and ``labels.png`` from the results of finished runs.

    Returns:
        The text of ``README.md``.
    """
    done = sum(run.name in results for run in list_runs(campaign))
    parts = [
        f'<!-- {MARK} -->',
        f'# {campaign.title}',
        f'```shell\npython tools/campaign.py docs/campaign/{campaign.name}.yaml --report\n```',
        f'{done} of {len(list_runs(campaign))} runs are done. Top-1 accuracies are in percent, '
        "means over seeds with 95 % intervals of Student's t distribution; a row without intervals "
        'is of one seed. '
        'Settings and features were chosen on a fifth of the training images that no training '
        'and no classifier has seen.',
        *_sections(campaign, results),
    ]
    text = '\n\n'.join(parts) + '\n'
    for name, draw in (('accuracy.png', _draw_curves), ('labels.png', _draw_labels)):
        output.save_image(name, Image.fromarray(figure_pixels(plot(draw, campaign, results))))
    with output.file('README.md') as path:
        path.write_text(text)
    return text


def _sections(campaign: Campaign, results: Results) -> Iterable[str]:
    yield '## Frozen features'
    yield frozen_table(campaign, results)
    if campaign.reference and len(campaign.methods) > 1:
        yield f'Differences to {campaign.reference}, paired by seed, in points:'
        yield _differences(campaign, results)
    if any(run.fraction for run in list_runs(campaign) if run.name in results):
        yield '## Training of the whole network'
        yield _tuned(campaign, results)
    yield '![Accuracy over labels](labels.png)'
    yield '## Costs'
    yield _costs(campaign, results)
    yield '![Accuracy over operations](accuracy.png)'
    yield '## Layers and grids'
    yield 'Accuracy of k-NN on the images that settings are chosen on:'
    yield _layers(campaign, results)


def table(header: Sequence, rows: Iterable[Sequence]) -> str:
    """A table in Markdown; all columns but the first are aligned to the right."""
    lines = [header, ['---'] + ['---:'] * (len(header) - 1), *rows]
    return '\n'.join(f'| {" | ".join(map(str, line))} |' for line in lines)


def finished(campaign: Campaign, results: Results, method: str) -> list[dict]:
    """The results of a method's pre-trainings, by seed."""
    runs = (results.get(Run(method, seed).name) for seed in campaign.seeds)
    return [run for run in runs if run]


def costs_of_methods(results: Results) -> dict[str, dict]:
    """``gflop`` and ``seconds`` of an image by method; empty if they were not measured."""
    return results.get(COSTS, {}).get('methods', {})


def _knn(scores: dict) -> float:
    return scores['knn_test'][scores['chosen']]


def _frozen_rows(campaign: Campaign, results: Results) -> dict[str, list[dict]]:
    """The scores of each seed, by what the features are of."""
    methods = {name: finished(campaign, results, name) for name in campaign.methods}
    starts = {
        f'{RANDOM}{name}': [run['random'] for run in runs if 'linear' in run['random']]
        for name, runs in methods.items()
    }
    return {name: runs for name, runs in (starts | methods).items() if runs}


def frozen_table(campaign: Campaign, results: Results) -> str:
    """Accuracies of frozen features: of images themselves, of random weights, of each method."""
    fractions = [f'{fraction:g}' for fraction in campaign.reading.labels]
    header = ['features', 'read from', f'k-NN, k = {campaign.reading.k}']
    header += [f'linear, {float(fraction):.0%} of labels' for fraction in fractions]
    lines = []
    if base := results.get(BASELINES):
        for name in base['knn_test']:
            values = [base['knn_test'][name], *map(mean, base['linear'][name].values())]
            lines.append([name, '', *(f'{value:.1f}' for value in values)])
    for name, runs in _frozen_rows(campaign, results).items():
        places = ', '.join(sorted({run['chosen'] for run in runs}))
        scores = [[_knn(run), *map(mean, run['linear'].values())] for run in runs]
        lines.append([name, places, *map(estimate, zip(*scores, strict=True))])
    return table(header, lines)


def _differences(campaign: Campaign, results: Results) -> str:
    measures: dict[str, Callable[[dict], float]] = {'k-NN': _knn}
    for fraction in campaign.reading.labels:
        measures[f'linear, {fraction:.0%}'] = lambda run, key=f'{fraction:g}': mean(
            run['linear'][key]
        )
    lines = []
    for name in campaign.methods:
        pairs = [
            (results[Run(name, seed).name], results[Run(campaign.reference, seed).name])
            for seed in campaign.seeds
            if {Run(name, seed).name, Run(campaign.reference, seed).name} <= results.keys()
        ]
        if name == campaign.reference or not pairs:
            continue
        columns = []
        for measure in measures.values():
            values = [(measure(one), measure(other)) for one, other in pairs]
            columns.append(paired_difference(*zip(*values, strict=True)))
        lines.append([name, len(pairs), *columns])
    return table(['method', 'seeds', *measures], lines)


def _tuned(campaign: Campaign, results: Results) -> str:
    groups: dict[str, dict[float, dict[int, float]]] = {}
    for run in list_runs(campaign):
        if run.fraction is not None and run.name in results:
            start = f'random weights, {run.times} × the steps' if run.scratch else run.method
            by_seed = groups.setdefault(start, {}).setdefault(run.fraction, {})
            by_seed[run.seed] = results[run.name]['top1']
    header, reference = ['start'], groups.get(campaign.reference, {})
    for fraction in campaign.tuning.labels:
        header.append(f'{fraction:.0%} of labels')
        if fraction in reference:
            header.append(f'difference to {campaign.reference}, paired')
    lines = []
    for start, group in groups.items():
        lines.append([start])
        for fraction in campaign.tuning.labels:
            values, others = group.get(fraction, {}), reference.get(fraction, {})
            lines[-1].append(estimate([*values.values()]) if values else '')
            if others:
                seeds = values.keys() & others.keys() if values is not others else ()
                pairs = [(values[seed], others[seed]) for seed in seeds]
                lines[-1].append(paired_difference(*zip(*pairs, strict=True)) if pairs else '')
    return table(header, lines)


def _costs(campaign: Campaign, results: Results) -> str:
    costs = costs_of_methods(results)
    reference = campaign.reference and _mean_curve(campaign, results, campaign.reference)
    lines = []
    for name, cost in costs.items():
        curve = _mean_curve(campaign, results, name)
        columns = [f'{cost["gflop"]:.3f}', f'{1 / cost["seconds"]:.0f}']
        reached = ''
        if reference and curve and name != campaign.reference:
            total = reference[-1][0]
            needed = images_to_reach(curve, reference[-1][1])
            spent = operations(campaign, costs, campaign.reference, total, total)
            reached = {None: 'not reached', 0: 'at the start'}.get(needed) or (
                f'{operations(campaign, costs, name, needed, total) / spent:.2f}'
            )
        lines.append([name, *columns, reached])
    return table(
        ['method', 'GFLOP an image', 'images/s, one thread, in turns',
         f'operations to the end of {campaign.reference}'], lines
    )  # fmt: skip


def operations(
    campaign: Campaign, costs: Mapping[str, dict], method: str, images: float, total: float
) -> float:
    """GFLOP of a pre-training after so many images; before a fork, they are those of the parent.

    Args:
        total: images of the whole pre-training.
    """
    parent, epoch = campaign.methods[method].fork, campaign.methods[method].fork_epoch or 0
    shared = min(images, total * epoch / campaign.epochs)
    before = shared * costs[parent]['gflop'] if parent else 0
    return before + (images - shared) * costs[method]['gflop']


def images_to_reach(curve: Sequence[tuple[float, float]], level: float) -> float | None:
    """(images, accuracy) pairs -> the images after which a level is reached, or None.

    Between two points the curve is a straight line.
    """
    if curve[0][1] >= level:
        return curve[0][0]
    for (x0, y0), (x1, y1) in zip(curve, curve[1:], strict=False):
        if y0 < level <= y1:
            return x0 + (x1 - x0) * (level - y0) / (y1 - y0)
    return None


def _mean_curve(campaign: Campaign, results: Results, method: str) -> list[tuple[float, float]]:
    """(images, k-NN on ``val`` from the features chosen at the end), means over seeds."""
    runs = finished(campaign, results, method)
    points = zip(*(run['curve'] for run in runs), strict=True)
    return [
        (
            seeds[0]['images'],
            mean(point['knn_val'][run['chosen']] for point, run in zip(seeds, runs, strict=True)),
        )
        for seeds in points
    ]


def plot(draw: Callable, campaign: Campaign, results: Results) -> Figure:
    """A figure with its legend beside it, high enough for all entries."""
    figure = Figure(figsize=(8, 4), layout='constrained')
    axes = figure.add_subplot()
    draw(axes, campaign, results)
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        axes.legend(handles, labels, loc='upper left', bbox_to_anchor=(1, 1))
        figure.set_figheight(max(4, 0.5 + 0.22 * len(labels)))
    return figure


def _look(campaign: Campaign, name: str) -> dict:
    """Colour, marker and line of a method, the same in all plots; dashed for its random weights."""
    method = name.removeprefix(RANDOM)
    place = list(campaign.methods).index(method)
    return dict(
        color=f'C{place % NUM_COLORS}',
        marker=MARKERS[place // NUM_COLORS % len(MARKERS)],
        linestyle='-' if method == name else '--',
    )


def _draw_curves(axes, campaign: Campaign, results: Results) -> None:
    base = results.get(BASELINES, {})
    costs = costs_of_methods(results)
    for style, (name, value) in zip(
        cycle(BASELINE_LINES), base.get('knn_val', {}).items(), strict=False
    ):
        axes.axhline(value, color='grey', linestyle=style, label=name)
    for method in campaign.methods:
        curve = _mean_curve(campaign, results, method)
        if curve and method in costs:
            images, top1 = zip(*curve, strict=True)
            spent = [operations(campaign, costs, method, count, images[-1]) for count in images]
            axes.plot(
                [gflop / 1e6 for gflop in spent], top1, label=method, **_look(campaign, method)
            )
    axes.set_xlabel('operations of the pre-training in 10¹⁵')
    axes.set_ylabel('k-NN top-1 in percent, on images to choose on')


def _draw_labels(axes, campaign: Campaign, results: Results) -> None:
    fractions = campaign.reading.labels

    def draw(name: str, scores: Sequence[dict], look: Mapping) -> None:
        points: list[Estimate] = [
            estimate([mean(run[f'{fraction:g}']) for run in scores]) for fraction in fractions
        ]
        axes.errorbar(
            fractions,
            [point.mean for point in points],
            [point.half_width or 0 for point in points],
            capsize=3,
            label=name,
            **look,
        )

    baselines = results.get(BASELINES, {}).get('linear', {})
    for line, (name, linear) in zip(cycle(BASELINE_LINES), baselines.items(), strict=False):
        draw(name, [linear], dict(color='grey', marker='x', linestyle=line))
    for name, runs in _frozen_rows(campaign, results).items():
        draw(f'{name}, linear', [run['linear'] for run in runs], _look(campaign, name))
    axes.set_xscale('log')
    axes.set_xticks(fractions, [f'{fraction:.0%}' for fraction in fractions])
    axes.minorticks_off()
    axes.set_xlabel('fraction of the training labels')
    axes.set_ylabel('top-1 in percent, on test images')


def _layers(campaign: Campaign, results: Results) -> str:
    rows = _frozen_rows(campaign, results)
    layers = sorted({layer for name in campaign.methods for layer in campaign.layers(name)})
    places = [key(layer, grid) for layer in layers for grid in campaign.reading.grids]
    lines = []
    for name, runs in rows.items():
        means = {place: mean(run['knn_val'][place] for run in runs) for place in runs[0]['knn_val']}
        lines.append([name, *(f'{means[one]:.1f}' if one in means else '' for one in places)])
    return table(['features', *places], lines)
