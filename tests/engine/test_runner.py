"""The text of a run's config is formatted once, and again only after a change."""

import yapf.yapflib.yapf_api
from mmengine.config import Config
from torch import nn

from mmmask.engine.runner import BriefRunner


def test_the_text_is_that_of_the_config_and_formatted_once(tmp_path, monkeypatch):
    path = tmp_path / 'config.py'
    path.write_text(
        'optimizer = dict(type="AdamW", lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05)\n'
        'custom_hooks = [dict(type="EMAHook"), dict(type="ProfilerHook", by_epoch=False)]\n'
    )
    cfg = Config.fromfile(path)
    calls, original = [], yapf.yapflib.yapf_api.FormatCode

    def count(text, **style):
        calls.append(text)
        return original(text, **style)

    monkeypatch.setattr(yapf.yapflib.yapf_api, 'FormatCode', count)
    runner = BriefRunner(nn.Linear(1, 1), str(tmp_path / 'run'), cfg=cfg, log_level='ERROR')
    assert runner.cfg.filename == cfg.filename
    runner.dump_config()
    assert (tmp_path / 'run' / 'config.py').read_text() == runner.cfg.pretty_text
    assert len(calls) == 1
    assert runner.cfg.pretty_text == cfg.pretty_text

    runner.cfg.optimizer.lr = cfg.optimizer.lr = 2e-3
    assert 'lr=0.002' in runner.cfg.pretty_text
    assert runner.cfg.pretty_text == cfg.pretty_text
    runner.cfg.custom_hooks.append(dict(type='SyncBuffersHook'))
    assert 'SyncBuffersHook' in runner.cfg.pretty_text
    assert 'SyncBuffersHook' not in cfg.pretty_text  # mmengine's runner has a copy
