"""The site builds without a warning, its links lead somewhere, every public name has an entry."""

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
from conftest import ROOT

import mmmask


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp('site')
    command = [sys.executable, '-m', 'sphinx', '-W', '--keep-going', '-q']
    command += ['-d', folder / 'doctrees', '-c', 'docs', '.', folder / 'html']
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = [line for line in process.stderr.splitlines() if 'WARNING' in line or 'ERROR' in line]
    assert (process.returncode, lines) == (0, []), process.stderr
    return folder / 'html'


class Page(HTMLParser):
    """The names that a page defines and the addresses that it refers to."""

    def __init__(self, path):
        super().__init__()
        self.names, self.links, self.loaded = set(), set(), set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.names.add(attrs.get('id'))
        if tag == 'a' and attrs.get('href'):
            self.links.add(attrs['href'])
        elif tag in ('img', 'script', 'link'):
            self.loaded.add(attrs.get('src') or attrs.get('href'))


def test_links_within_the_site_lead_somewhere(site):
    pages = {path: Page(path) for path in site.rglob('*.html')}
    assert len(pages) > 30
    broken = []
    for path, page in pages.items():
        for link in page.links | page.loaded - {None}:
            address = urlsplit(link)
            if address.scheme or address.netloc:
                continue
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            anchor = unquote(address.fragment)
            if not target.exists() or (
                anchor and target in pages and anchor not in pages[target].names
            ):
                broken.append((str(path.relative_to(site)), link))
    assert broken == []


def test_no_page_needs_a_network(site):
    for path in site.rglob('*.html'):
        assert [link for link in Page(path).loaded if link and '//' in link] == []


def documented(site):
    """The classes, functions and modules of the API reference."""
    index = (site / 'objects.inv').read_bytes().split(b'\n', 4)[4]
    entries = zlib.decompress(index).decode()
    for name in re.findall(r'^(\S+) py:module ', entries, re.MULTILINE):
        yield importlib.import_module(name)
    for name in re.findall(r'^(\S+) py:(?:class|exception|function) ', entries, re.MULTILINE):
        module, _, name = name.rpartition('.')
        yield getattr(importlib.import_module(module), name)


def identity(thing) -> str:
    return thing.__name__ if inspect.ismodule(thing) else f'{thing.__module__}.{thing.__qualname__}'


def public_things():
    """All classes, functions and modules that a package of mmmask exports."""
    for found in pkgutil.walk_packages(mmmask.__path__, 'mmmask.'):
        module = importlib.import_module(found.name) if found.ispkg else None
        for name in getattr(module, '__all__', ()):
            thing = getattr(module, name)
            if inspect.ismodule(thing) or hasattr(thing, '__qualname__'):
                yield thing


def test_every_public_name_is_in_the_reference(site):
    known = {identity(thing) for thing in documented(site)}
    names = {identity(thing) for thing in public_things()}
    assert len(names) > 150
    assert sorted(names - known) == []
