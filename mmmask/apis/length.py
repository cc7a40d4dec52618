"""A shorter or longer run, with all that depends on its length."""

from mmengine.config import Config

SCHEDULED = (
    *('begin', 'end', 'T_max', 'milestones', 'step_size', 'total_steps'),
    *('warmup_epochs', 'warmup_iters'),
)
# When hooks of mmengine and mmdet begin, or how long before the end.
HOOKED = ('begin_epoch', 'begin_iter', 'switch_epoch', 'num_last_epochs')


def observes(hook: dict) -> bool:
    """Whether a hook measures or draws images of its own, as k-NN and reconstructions do."""
    return not {'bank', 'dataset'}.isdisjoint(hook)


def set_length(cfg: Config, epochs: int | None = None, iters: int | None = None) -> None:
    """Change the length of a run; schedules, validation and checkpoints keep their fractions of it.

    So do the hooks that switch the data or begin to average the weights at some time.

    Whole numbers stay whole and positive. A schedule of which nothing is left is dropped.

    Raises:
        ValueError: if the config counts in the other unit, both are given, or the length is not
            positive.
    """
    given = {
        key: value for key, value in (('epochs', epochs), ('iters', iters)) if value is not None
    }
    if not given:
        return
    (unit, length), *others = given.items()
    key = f'max_{unit}'
    if others or length < 1:
        raise ValueError(f'--epochs {epochs} --iters {iters}: give one of them, 1 or more.')
    loop = cfg.get('train_cfg') or {}
    if key not in loop:
        other = dict(epochs='iters', iters='epochs')[unit]
        remedy = f'use --{other}' if f'max_{other}' in loop else 'it trains nothing'
        raise ValueError(f'--{unit} {length}: this config does not count {unit}; {remedy}.')
    before, loop[key] = loop[key], length
    ratio = length / before

    def scale(value):
        if isinstance(value, list | tuple):
            return [scale(one) for one in value]
        if not isinstance(value, int | float) or isinstance(value, bool) or not value:
            return value
        return max(1, round(value * ratio)) if isinstance(value, int) else value * ratio

    kept = []
    schedules = cfg.get('param_scheduler') or []
    for schedule in schedules if isinstance(schedules, list) else [schedules]:
        for name in SCHEDULED:
            if name in schedule:
                value = schedule[name]
                # the warm-up of mmmask.WarmupCosineLR may be a fraction of an epoch
                schedule[name] = value * ratio if name == 'warmup_epochs' else scale(value)
        if schedule.get('begin', 0) < schedule.get('end', float('inf')):
            kept.append(schedule)
    cfg.param_scheduler = kept if isinstance(schedules, list) else kept[0]
    for name in ('val_begin', 'val_interval'):
        if name in loop:
            loop[name] = min(scale(loop[name]), length)
    if loop.get('dynamic_intervals'):  # pairs of a time and the val_interval from then on
        loop.dynamic_intervals = [tuple(scale(pair)) for pair in loop.dynamic_intervals]
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if checkpoint.get('by_epoch', True) == (unit == 'epochs'):
        for name in ('save_begin', 'interval'):
            if name in checkpoint:
                checkpoint[name] = min(scale(checkpoint[name]), length)
    logger = (cfg.get('default_hooks') or {}).get('logger') or {}
    if unit == 'iters' and 'interval' in logger:
        logger.interval = min(logger.interval, max(1, length // 10))
    for hook in cfg.get('custom_hooks') or []:
        for name in HOOKED:
            if name in hook:
                hook[name] = scale(hook[name])
        if unit == 'epochs' and 'interval' in hook and observes(hook):
            hook.interval = min(scale(hook.interval), length)
