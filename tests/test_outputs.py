"""Files are written inside their folder only, and replace nothing that mmmask did not write."""

import os

import pytest

from mmmask.outputs import RECORD, OutputFolder, safe_name


@pytest.mark.parametrize(
    ('name', 'safe'),
    [
        ('a.jpg', 'a.jpg'),
        ('./x/./a.jpg', 'x/a.jpg'),
        ('x/y/a.jpg', 'x/y/a.jpg'),
        ('images\\a.jpg', 'images/a.jpg'),
        ('/home/someone/a.jpg', 'a.jpg'),
        ('C:\\data\\a.jpg', 'a.jpg'),
        ('\\\\server\\share\\x\\a.jpg', 'a.jpg'),
        ('../../x/a.jpg', 'a.jpg'),
        ('..\\a.jpg', 'a.jpg'),
        ('x/../../a.jpg', 'a.jpg'),
        ('..a.jpg', '..a.jpg'),
    ],
)
def test_names_lead_down(name, safe):
    assert safe_name(name) == safe


@pytest.mark.parametrize('name', ['', '.', './', '..', 'x/..', '/', 'C:\\', 'a\0.jpg'])
def test_names_of_no_file(name):
    with pytest.raises(ValueError, match='is not the name of a file'):
        safe_name(name)


def write(folder, name, text):
    with OutputFolder(folder).file(name) as path:
        path.write_text(text)


def test_own_files_are_replaced(tmp_path):
    write(tmp_path / 'out', 'x/a.txt', 'first')
    write(tmp_path / 'out', 'x/b.txt', 'other')
    write(tmp_path / 'out', 'x/a.txt', 'second')
    found = {path.name: path.read_text() for path in (tmp_path / 'out/x').iterdir()}
    assert found == {'a.txt': 'second', 'b.txt': 'other'}


def test_foreign_files_are_kept(tmp_path):
    (tmp_path / 'a.txt').write_text('of the user')
    with pytest.raises(FileExistsError, match='a.txt exists and was not written by mmmask'):
        write(tmp_path, 'a.txt', 'new')
    (tmp_path / 'link').symlink_to(tmp_path / 'nowhere')
    with pytest.raises(FileExistsError, match='link exists'):
        write(tmp_path, 'link', 'new')
    assert (tmp_path / 'a.txt').read_text() == 'of the user'
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.txt', 'link']


def test_a_file_edited_since_is_kept(tmp_path):
    write(tmp_path, 'a.txt', 'first')
    (tmp_path / 'a.txt').write_text('corrected by hand')
    with pytest.raises(FileExistsError, match='or was changed since: move it away'):
        write(tmp_path, 'a.txt', 'second')
    assert (tmp_path / 'a.txt').read_text() == 'corrected by hand'


def test_a_link_does_not_lead_out(tmp_path):
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/x').symlink_to(tmp_path / 'photos')
    for name in ('x/a.txt', '../photos/a.txt', str(tmp_path / 'photos/a.txt'), RECORD):
        with pytest.raises(ValueError, match='is not inside'):
            write(tmp_path / 'out', name, 'new')
    assert list((tmp_path / 'photos').iterdir()) == []


def test_two_outputs_of_one_name(tmp_path):
    output = OutputFolder(tmp_path)
    output.claim('a.png', 'image 1')
    output.claim('a.png', 'image 1')
    with pytest.raises(ValueError, match=r'image 1 and image 2 would both be written to .*a\.png'):
        output.claim('a.png', 'image 2')


def test_an_error_while_writing_leaves_what_was_there(tmp_path):
    write(tmp_path, 'a.txt', 'first')
    with pytest.raises(KeyError), OutputFolder(tmp_path).file('a.txt') as path:
        path.write_text('half')
        raise KeyError
    assert (tmp_path / 'a.txt').read_text() == 'first'
    assert sorted(path.name for path in tmp_path.iterdir()) == [RECORD, 'a.txt']


def test_a_record_cut_off_by_a_kill_is_read(tmp_path):
    write(tmp_path, 'a.txt', 'first')
    with (tmp_path / RECORD).open('a') as record:
        record.write('\n["b.txt", "0f')
    write(tmp_path, 'a.txt', 'second')
    write(tmp_path, 'a.txt', 'third')
    assert (tmp_path / 'a.txt').read_text() == 'third'


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    write('~/out', 'a.txt', 'text')
    assert os.listdir(tmp_path) == ['out']
