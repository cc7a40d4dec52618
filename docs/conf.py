"""Settings of the site. Sphinx reads the documents where they are in the repository."""

import re
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
    'docs/api/*.md',
    'docs/*/README.md',
    'configs/*/README.md',
    'demo/README.md',
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


def complete_links(app, docname: str, source: list[str]) -> None:
    """Let a link to a folder lead to its README, as on code hosts; list all other pages."""
    here = Path(app.srcdir, docname).parent

    def page(link: re.Match) -> str:
        readme = here / link[1] / 'README.md'
        return f']({link[1].rstrip("/")}/README.md)' if readme.exists() else link[0]

    source[0] = re.sub(r'\]\((?!https?:)([^)#\s]+)\)', page, source[0])
    if docname == root_doc:
        listed = set(re.findall(r'^(\w+)$', source[0], re.MULTILINE)) | {'index'}
        pages = [*here.glob('*.md'), *here.glob('*/README.md')]
        pages = {path.relative_to(here).with_suffix('').as_posix() for path in pages}
        others = sorted(pages - listed)
        source[0] = source[0].replace('OTHER_PAGES', '\n'.join(others))


def of_class_or_instance(method: cache_randomness, instance, owner: type):
    """Read a cached method, also from a class, which autodoc does and mmcv does not allow."""
    return method.func if instance is None else of_instance(method, instance, owner)


of_instance, cache_randomness.__get__ = cache_randomness.__get__, of_class_or_instance


def setup(app) -> None:
    app.connect('source-read', complete_links)
