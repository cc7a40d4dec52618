"""Tar archives as sources of images."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from mmmask.datasets import ImageFolder


def encode(level):
    buffer = io.BytesIO()
    Image.new('RGB', (6, 4), (level, 0, 0)).save(buffer, 'PNG')
    return buffer.getvalue()


def write_tar(path, files, mode='w'):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo('link.png')
        link.type, link.linkname = tarfile.SYMTYPE, '/etc/hostname'
        archive.addfile(link)


FILES = {
    './b/1.png': encode(30),
    './a/0.png': encode(10),
    'a/broken.png': encode(20)[:40],
    'a/0.json': b'{}',
}


def test_images_and_labels_of_a_tar(tmp_path):
    write_tar(tmp_path / 'shard.tar', FILES)
    dataset = ImageFolder(tmp_path / 'shard.tar', with_label=True, report_file=tmp_path / 'report')
    names = [dataset.get_data_info(index)['name'] for index in range(len(dataset))]
    assert names == ['a/0.png', 'a/broken.png', 'b/1.png']
    assert dataset.metainfo['classes'] == ['a', 'b']
    for index, (level, label) in {0: (10, 0), 2: (30, 1)}.items():
        sample = dataset[index]
        assert sample['gt_label'] == label
        np.testing.assert_array_equal(sample['img'], np.full((4, 6, 3), (0, 0, level), np.uint8))
    assert dataset[1]['img'][0, 0, 2] in (10, 30)  # another image in place of the broken one
    assert (tmp_path / 'report').read_text().startswith(f'{tmp_path}/shard.tar/a/broken.png\t')


def test_a_truncated_tar_has_unreadable_files(tmp_path):
    path = tmp_path / 'shard.tar'
    write_tar(path, {'0.png': encode(10), '1.png': b'\0' * 100 + encode(20)})
    dataset = ImageFolder(path)
    path.write_bytes(path.read_bytes()[: 512 + 512 + 512 + 50])
    assert dataset[0]['img'][0, 0, 2] == 10
    assert dataset[1]['img'][0, 0, 2] == 10


def test_a_compressed_tar_is_refused(tmp_path):
    write_tar(tmp_path / 'shard.tar.gz', FILES, 'w:gz')
    with pytest.raises(ValueError, match='nor an uncompressed tar archive .*give a .zip or .tar'):
        ImageFolder(tmp_path / 'shard.tar.gz')
