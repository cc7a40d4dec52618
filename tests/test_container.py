"""The Dockerfile, the workflows and the templates refer to what exists."""

import re
import shlex

import pytest
import yaml
from conftest import ROOT

DOCKERFILE = (ROOT / 'Dockerfile').read_text()
WORKFLOW = (ROOT / '.github/workflows/ci.yml').read_text()


def test_the_dockerfile_copies_files_that_exist_and_installs_extras_that_exist():
    instructions = [
        shlex.split(line) for line in DOCKERFILE.replace('\\\n', ' ').splitlines() if line.strip()
    ]
    instructions = [words for words in instructions if words and words[0] in ('COPY', 'ARG')]
    copied = [words[1] for words in instructions if words[0] == 'COPY']
    assert copied == ['requirements', '.'] and all((ROOT / name).exists() for name in copied)
    arguments = dict(words[1].split('=') for words in instructions if words[0] == 'ARG')
    assert arguments['DEVICE'] == 'cpu'
    for extra in arguments['EXTRAS'].split(','):
        assert (ROOT / 'requirements' / f'{extra}.txt').exists()
    for name in re.findall(r'/src/(requirements/\S+\.txt)', DOCKERFILE):
        assert (ROOT / name).exists()


def test_the_ignored_files_are_not_needed_to_build():
    ignored = (ROOT / '.dockerignore').read_text().split()
    needed = ('setup.py', 'pyproject.toml', 'README.md', 'mmmask', 'configs', 'tools', 'demo')
    assert not set(ignored) & {*needed, 'requirements', 'model-index.yml'}


def test_the_workflow_runs_commands_that_exist():
    jobs = yaml.safe_load(WORKFLOW)['jobs']
    assert jobs['install']['strategy']['matrix'] == dict(
        python=['3.10', '3.11', '3.12', '3.13'], torch=['2.11.0', 'newest']
    )
    commands = [step['run'] for job in jobs.values() for step in job['steps'] if 'run' in step]
    targets = re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE)
    for command in commands:
        assert all((ROOT / name).exists() for name in re.findall(r'tools/\w+\.py', command))
        assert all(name in targets for name in re.findall(r'^make (\S+)', command))


@pytest.mark.parametrize('path', sorted((ROOT / '.github/ISSUE_TEMPLATE').glob('[!c]*.yml')))
def test_templates(path):
    template = yaml.safe_load(path.read_text())
    assert template['name'] and template['description']
    assert len({part['id'] for part in template['body']}) == len(template['body'])
