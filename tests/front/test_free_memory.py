"""The memory that is free for a training, in a machine and in a container with a limit."""

import pytest

from mmmask.front import memory

FILES = {'v1': memory.VERSION_1, 'v2': memory.VERSION_2}
ROOT = {'v1': 'memory', 'v2': ''}
NAMES = {'v1': '5:cpu,cpuacct:/other\n4:memory:{}\n0::/other\n', 'v2': '0::{}\n'}


@pytest.fixture(params=['v1', 'v2'])
def groups(request, tmp_path):
    """Writes groups as {name: (limit, used, cache)} -> what is free for a process in one of them.

    The names of version 1 have other controllers beside that of the memory.
    """
    kind = request.param

    def read(own, content):
        for name, (limit, used, cache) in content.items():
            folder = tmp_path / 'mount' / ROOT[kind] / name.lstrip('/')
            folder.mkdir(parents=True, exist_ok=True)
            (folder / FILES[kind][0]).write_text(f'{limit}\n')
            (folder / FILES[kind][1]).write_text(f'{used}\n')
            (folder / 'memory.stat').write_text(f'anon 7\n{FILES[kind][2]} {cache}\n')
        (tmp_path / 'names').write_text(NAMES[kind].format(own))
        return memory.free_in_groups(tmp_path / 'names', tmp_path / 'mount')

    read.kind = kind
    return read


def test_the_limit_of_a_container_holds(groups):
    """Its own group is the root of what it sees."""
    assert groups('/', {'/': (1000, 300, 0)}) == [700]


def test_cache_that_can_be_freed_counts_as_free(groups):
    assert groups('/', {'/': (1000, 900, 250)}) == [350]


def test_nothing_is_free_above_the_limit(groups):
    assert groups('/', {'/': (1000, 1100, 0)}) == [0]


def test_the_limits_of_the_groups_above_hold_too(groups):
    content = {'/a': (5000, 1000, 0), '/a/b': (9000, 100, 0), '/c': (10, 10, 0)}
    assert groups('/a/b', content) == [8900, 4000]


def test_a_name_outside_of_the_container_stands_for_the_root(groups):
    assert groups('/docker/0123', {'/': (1000, 300, 0)}) == [700]


def test_no_limit_is_no_bound(groups):
    unlimited = {'v1': 9223372036854771712, 'v2': 'max'}[groups.kind]
    assert all(number > 2**62 for number in groups('/', {'/': (unlimited, 300, 0)}))


def test_a_system_without_groups_has_no_limits(tmp_path):
    assert memory.free_in_groups(tmp_path / 'names', tmp_path) == []
    (tmp_path / 'names').write_text('0::/\n')
    assert memory.free_in_groups(tmp_path / 'names', tmp_path) == []


def test_the_smallest_of_all_limits_is_free(monkeypatch):
    monkeypatch.setattr(memory, '_free_in_machine', lambda: 50)
    for limits, free in (([], 50), ([70], 50), ([70, 20], 20)):
        monkeypatch.setattr(memory, 'free_in_groups', lambda limits=limits: limits)
        assert memory.free_memory('cpu') == free


def test_available_memory_is_read_in_bytes(tmp_path):
    (tmp_path / 'meminfo').write_text('MemTotal:  9 kB\nMemAvailable:  5 kB\n')
    assert memory._free_in_machine(tmp_path / 'meminfo') == 5 * 1024
