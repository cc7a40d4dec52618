"""What the documents name is there: links, files, and make's targets."""

import re

import pytest
from conftest import ROOT

DOCUMENTS = [*sorted(ROOT.glob('*.md')), *sorted((ROOT / 'docs').rglob('*.md'))]
documents = pytest.mark.parametrize(
    'document', DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)
LINK = re.compile(r'\]\((?!https?://|mailto:|#)([^)\s#]+)')
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
def test_make_targets_are_there(document):
    targets = set(re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
    # In code only: prose may make anything.
    code = ' ; '.join(re.findall(r'```.*?```|`[^`\n]+`', document.read_text(), re.DOTALL))
    assert set(re.findall(r'\bmake ([a-z-]+)', code)) - targets == set()


@documents
def test_nothing_is_left_to_fill_in(document):
    assert re.findall(r'@@\w+@@|\bTODO\b|\bFIXME\b', document.read_text()) == []
