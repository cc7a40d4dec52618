"""Everything that the documentation refers to exists: links, files, options, make targets."""

import re

import pytest
from conftest import ROOT

FOLDERS = ROOT / 'docs', ROOT / 'configs', ROOT / 'notebooks'
DOCUMENTS = sorted(
    [
        *ROOT.glob('*.md'),
        ROOT / 'demo' / 'README.md',
        *(path for folder in FOLDERS for path in folder.rglob('*.md')),
    ]
)
documents = pytest.mark.parametrize(
    'document', DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)
LINK = re.compile(r'\]\((?!https?://|mailto:|#)([^)\s#]+)')
TOOL = re.compile(r'(?<![\w./-])tools/(\w+)\.(?:py|sh)\b([^`\n;|&#]*)')
PASSED_ON = dict(dist_train='train', slurm_train='train')  # launchers that forward their arguments
FILE = re.compile(r'(?<![\w./-])(?:configs|docs|mmmask|requirements|tests|tools)/[\w./-]*\.\w+')


def anchor(heading: str) -> str:
    return re.sub(r'[^\w -]', '', heading.strip().lower()).replace(' ', '-')


@documents
def test_links_lead_somewhere(document):
    links = LINK.findall(document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


@documents
def test_links_within_a_document_lead_to_a_heading(document):
    text = document.read_text()
    headings = {anchor(heading) for heading in re.findall(r'^#+ (.+)$', text, re.MULTILINE)}
    assert set(re.findall(r'\]\(#([^)]+)\)', text)) - headings == set()


@documents
def test_named_files_are_there(document):
    names = {name.rstrip('.') for name in FILE.findall(document.read_text())}
    assert sorted(name for name in names if not (ROOT / name).exists()) == []


@documents
def test_tools_take_the_options_that_are_named(document):
    text = document.read_text().replace('\\\n', ' ')
    shared = (ROOT / 'mmmask/command_line.py').read_text()  # options of several tools
    unknown = []
    for tool, arguments in TOOL.findall(text):
        (path,) = (ROOT / 'tools').glob(f'{PASSED_ON.get(tool, tool)}.*')
        source = path.read_text() + shared + "'--help'"
        used = re.findall(r'(?<!\S)--[a-z-]+', arguments)
        unknown += [f'{tool} {option}' for option in used if f"'{option}'" not in source]
    assert unknown == []


@documents
def test_make_targets_are_there(document):
    targets = set(re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
    # Only code is searched, because "make" is also a word of prose.
    code = ' ; '.join(re.findall(r'```.*?```|`[^`\n]+`', document.read_text(), re.DOTALL))
    assert set(re.findall(r'\bmake ([a-z-]+)', code)) - targets == set()


@documents
def test_nothing_is_left_to_fill_in(document):
    assert re.findall(r'@@\w+@@|\bTODO\b|\bFIXME\b', document.read_text()) == []
