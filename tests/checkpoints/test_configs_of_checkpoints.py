"""Configs of checkpoints are read as text."""

from mmmask.config_text import ABSENT, UNREADABLE, compare_configs


def test_differences_of_configs():
    before = "a = dict(b=1, c=[dict(d=(1, 2)), 'x'], e=float('inf'))\nwork_dir = 'x'\nf = None\n"
    now = "a = dict(b=1, c=[dict(d=(1, 3)), 'x', 'y'], e=float('inf'))\ng = {'h-i': {}}"
    assert compare_configs(before, before) == {}
    assert compare_configs(before, now) == {
        'a.c.0.d.1': (2, 3),
        'a.c.2': (ABSENT, 'y'),
        'f': (None, ABSENT),
        'g.h-i': (ABSENT, {}),
    }
    assert list(compare_configs('a = <function f>', 'a = 1')) == [UNREADABLE, 'a']
