"""Settings of the site. Sphinx reads the documents where they are in the repository."""

import inspect
import pkgutil
import re
from importlib import import_module
from pathlib import Path

from mmcv.transforms.utils import cache_randomness

import mmmask

project = 'mmmask'
author = 'The mmmask authors'
release = version = mmmask.__version__

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
root_doc = 'docs/index'
include_patterns = [
    'docs/*.md',
    'docs/*/*.md',
    'docs/campaign/*/*.md',
    'configs/*/README.md',
    'demo/README.md',
    'demo/*/README.md',
    'notebooks/README.md',
    'README.md',
    'CHANGELOG.md',
    'CONTRIBUTING.md',
]
# Not searched for documents.
exclude_patterns = ['.*', 'build', 'data', 'mmmask', 'tests', 'tools', 'work_dirs']

html_theme = 'furo'
html_title = f'mmmask {release}'
html_show_copyright = html_show_sourcelink = html_copy_source = False

myst_heading_anchors = 4
autodoc_inherit_docstrings = False
autodoc_member_order = 'bysource'
autodoc_preserve_defaults = True
autodoc_typehints = 'description'
napoleon_numpy_docstring = False
napoleon_use_ivar = True

ENTRY = '.. automodule:: {}\n   :members:\n   :show-inheritance:\n'


def complete_links(app, docname: str, source: list[str]) -> None:
    """Let a link to a folder lead to its README, as on code hosts; list what no page lists."""
    here = Path(app.srcdir, docname).parent

    def page(link: re.Match) -> str:
        readme = here / link[1] / 'README.md'
        return f']({link[1].rstrip("/")}/README.md)' if readme.exists() else link[0]

    source[0] = re.sub(r'\]\((?!https?:)([^)#\s]+)\)', page, source[0])
    if docname == root_doc:
        pages = {str(path.relative_to(here).with_suffix('')) for path in here.rglob('*.md')}
        listed = {'index', *re.findall(r'^([\w/]+)$', source[0], re.MULTILINE)}
        others = sorted(page for page in pages - listed if not page.startswith('api/'))
        source[0] = source[0].replace('OTHER_PAGES', '\n'.join(others))
    if docname == 'docs/api/others':
        named = ''.join(path.read_text() for path in here.glob('*.md'))
        others = sorted(name for name in public_modules() if f':: {name}\n' not in named)
        source[0] = source[0].replace('OTHER_MODULES', '\n'.join(map(ENTRY.format, others)))


def public_modules() -> set[str]:
    """The packages of mmmask that export what their parent does not, and exported modules."""
    names = set()
    for found in pkgutil.walk_packages(mmmask.__path__, 'mmmask.'):
        if not found.ispkg:
            continue
        package, parent = (
            import_module(name) for name in (found.name, found.name.rpartition('.')[0])
        )
        things = {name: getattr(package, name) for name in getattr(package, '__all__', ())}
        modules = {thing.__name__ for thing in things.values() if inspect.ismodule(thing)}
        if modules or set(things) - set(getattr(parent, '__all__', ())):
            names |= modules or {found.name}
    return names


def of_class_or_instance(method: cache_randomness, instance, owner: type):
    """Read a cached method, also from a class, which autodoc does and mmcv does not allow."""
    return method.func if instance is None else of_instance(method, instance, owner)


of_instance, cache_randomness.__get__ = cache_randomness.__get__, of_class_or_instance


def setup(app) -> None:
    app.connect('source-read', complete_links)
