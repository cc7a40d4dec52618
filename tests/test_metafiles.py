"""``model-index.yml`` and the metafiles, by which OpenMMLab's ``mim`` finds configs.

``python tests/test_metafiles.py`` writes them.
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path
from statistics import mean

import yaml

from mmmask.lab.campaign.declaration import read_campaign

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = sorted(
    path for path in ROOT.glob('configs/**/*.py') if '_base_' not in path.relative_to(ROOT).parts
)
REMARK = '# Written by `python tests/test_metafiles.py`.\n'
# What begins the name of a config -> name of the method, arXiv number of its paper.
METHODS = {
    'cmae-huang': ('CMAE (Huang)', '2207.13532'),
    'cmae-mao': ('CMAE (Mao)', '2205.10546'),
    'crossmae': ('CrossMAE', '2401.14391'),
    'data2vec2': ('data2vec 2.0', '2212.07525'),
    'ehm': ('Evolved hierarchical masking', '2504.09155'),
    'epm': ('Evolved part masking', None),
    'fcmae': ('FCMAE', '2301.00808'),
    'features': ('Features as targets', '2203.05175'),
    'ijepa': ('I-JEPA', '2301.08243'),
    'localmim': ('LocalMIM', '2303.05251'),
    'mae': ('MAE', '2111.06377'),
    'maskdeep': ('MaskDeep', '2304.00218'),
    'maskfeat': ('MaskFeat', '2112.09133'),
    'simmim': ('SimMIM', '2111.09886'),
    'spark': ('SparK', '2301.03580'),
}
EVALUATION = 'Evaluation of backbones'
CAMPAIGNS = sorted(ROOT.glob('docs/campaign/*.yaml'))


def collection_of(path: Path) -> str:
    """The name of the method that a config trains, or of the evaluations."""
    if 'downstream' in path.parts:
        return EVALUATION
    (key,) = [key for key in METHODS if re.match(f'{key}[-_]', path.name)]
    return METHODS[key][0]


def results_of(config: str) -> list[dict]:
    """What campaigns have measured with a config, as means over their seeds; once for some data."""
    found, measured = [], []
    for path in CAMPAIGNS:
        campaign = read_campaign(path)
        for name, method in campaign.methods.items():
            files = [path.with_suffix('') / f'{name}_seed{seed}.json' for seed in campaign.seeds]
            if method.config != config or campaign.data in measured:
                continue
            if not all(file.is_file() for file in files):
                continue
            measured.append(campaign.data)
            runs = [json.loads(file.read_text()) for file in files]
            for task, values in (
                ('k-NN classification', [run['knn_test'][run['chosen']] for run in runs]),
                ('Linear classification', [run['linear']['1'][0] for run in runs]),
            ):
                metrics = {'Top 1 Accuracy': round(mean(values), 1)}
                found.append(dict(Task=task, Dataset=campaign.title, Metrics=metrics))
    return found


def write_model(path: Path) -> dict:
    """The entry of a config. tests/test_configs.py checks that its name has the length."""
    shared = [other for other in CONFIGS if other.stem == path.stem]
    epochs = re.search(r'-(\d+)e(_|$)', path.stem)
    model = dict(
        Name=path.stem if len(shared) == 1 else f'{path.parent.name}_{path.stem}',
        **{'In Collection': collection_of(path)},
        Config=path.relative_to(ROOT).as_posix(),
    )
    if epochs:
        model['Metadata'] = dict(Epochs=int(epochs[1]))
    if results := results_of(model['Config']):
        model['Results'] = results
    return model


def write_collections(folder: str) -> list[dict]:
    """The entries of the methods whose first config, demos last, is in a folder."""
    first = {}
    for path in sorted(CONFIGS, key=lambda path: path.parts[-2] in ('demo', 'channels')):
        first.setdefault(collection_of(path), path.relative_to(ROOT).parts[1])
    numbers = dict(METHODS.values())
    collections = []
    for name in sorted(name for name, place in first.items() if place == folder):
        collection = dict(Name=name)
        if numbers.get(name):
            collection['Paper'] = dict(URL=f'https://arxiv.org/abs/{numbers[name]}')
        if (ROOT / 'configs' / folder / 'README.md').exists():
            collection['README'] = f'configs/{folder}/README.md'
        collections.append(collection)
    return collections


def write_files() -> dict[str, str]:
    """The text of every metafile and of the index, by path."""
    folders = sorted({path.relative_to(ROOT).parts[1] for path in CONFIGS})
    contents = {}
    for folder in folders:
        paths = [path for path in CONFIGS if path.is_relative_to(ROOT / 'configs' / folder)]
        collections = write_collections(folder)
        content = (dict(Collections=collections) if collections else {}) | dict(
            Models=[write_model(path) for path in paths]
        )
        contents[f'configs/{folder}/metafile.yml'] = content
    contents['model-index.yml'] = dict(Import=list(contents))
    return {
        name: REMARK + yaml.safe_dump(content, sort_keys=False, width=100)
        for name, content in contents.items()
    }


def test_the_files_are_what_the_configs_say():
    outdated = [
        name
        for name, text in write_files().items()
        if not (ROOT / name).exists() or (ROOT / name).read_text() != text
    ]
    assert outdated == [], 'python tests/test_metafiles.py writes them'


def test_mim_finds_every_config(monkeypatch):
    """modelindex is what ``mim search`` and ``mim download`` read the index with."""
    from modelindex.load_model_index import load

    monkeypatch.chdir(ROOT)
    index = load('model-index.yml')
    index.build_models_with_collections()
    assert Counter(model.config for model in index.models) == Counter(
        path.relative_to(ROOT).as_posix() for path in CONFIGS
    )
    assert max(Counter(model.name for model in index.models).values()) == 1
    names = {collection.name for collection in index.collections}
    assert {model.in_collection for model in index.models} == names
    (mae,) = [m for m in index.models if m.name == 'mae_vit-base-p16_8xb512-amp-coslr-300e_in1k']
    assert mae.metadata.epochs == 300
    assert mae.full_model.paper['URL'] == 'https://arxiv.org/abs/2111.06377'


def test_results_are_those_of_the_tables():
    results = results_of('configs/demo/localmim_vit-tiny_digits.py')
    assert {result['Dataset'] for result in results} >= {'Traffic signs (GTSRB)'}
    for result in results:
        (path,) = [path for path in CAMPAIGNS if read_campaign(path).title == result['Dataset']]
        page = (path.with_suffix('') / 'README.md').read_text()
        (row,) = [line for line in page.splitlines() if re.match(r'\| LocalMIM \| \d/', line)]
        assert f' {result["Metrics"]["Top 1 Accuracy"]} ±' in row


def test_the_page_for_choosing_a_method_has_the_accuracies_of_the_campaign():
    """Each is the last column of the table of frozen features."""
    cells = [
        [cell.strip() for cell in line.strip('|').split('|')]
        for page in ('methods.md', 'campaign/clothing10/README.md')
        for line in (ROOT / 'docs' / page).read_text().split('## Differences')[0].splitlines()
        if line.startswith('| ') and line.count('|') > 5
    ]
    measured = {row[0]: row[-1] for row in reversed(cells) if len(row) == 5}
    stated = {}
    for name, *_, accuracies, _ in (row for row in cells if row[0].startswith('[')):
        names = re.search(r'\[(.+)\]', name)[1].replace('CMAE, ', 'CMAE ').split(', ')
        pairs = zip(names, accuracies.split(', '), strict=False)
        stated |= {re.sub('CMAE (.*)', r'CMAE (\1)', one): value for one, value in pairs}
    assert stated.pop('Features') == measured['random features']
    assert stated.pop('MaskDeep') == 'not measured'
    assert len(stated) == 13 and stated == {name: measured[name] for name in stated}


if __name__ == '__main__':
    for name, text in write_files().items():
        (ROOT / name).write_text(text)
        print(f'wrote {name}', file=sys.stderr)
