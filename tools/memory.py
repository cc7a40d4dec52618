#!/usr/bin/env python
"""Calculate the memory that weights, gradients and AdamW take in each process, without a GPU.

Activations come on top; they are proportional to the images per process.
"""

from mmmask.command_line import SHARDS, Parser, add_config_options, user_errors, user_path


def main() -> None:
    parser = Parser(
        description=__doc__,
        epilog='Example:\n'
        '  tools/memory.py configs/mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py \\\n'
        '      --processes 8 64 --cfg-options model.backbone.arch=large',
    )
    parser.add_argument('config', type=user_path, help='config file')
    parser.add_argument(
        '--processes', type=int, nargs='+', default=[8], help='numbers of processes (default: 8)'
    )
    add_config_options(parser)
    arguments = parser.parse_args()
    with user_errors(arguments.debug, arguments.config):
        from mmengine.registry import MODELS, init_default_scope

        from mmmask.apis.config_trial import on_meta
        from mmmask.apis.validate import read_config
        from mmmask.lab.memory import training_memory

        cfg = read_config(arguments.config, arguments.cfg_options)
        init_default_scope(cfg.get('default_scope', 'mmmask'))
        with on_meta():
            model = MODELS.build(cfg.model)
        count = sum(p.numel() for p in model.parameters())
        print(f'{type(model).__name__}, {count / 1e6:,.0f} million parameters; GiB per process')
        print('processes', *(f'{name:>10}' for name in [*SHARDS, 'checkpoint']))
        for processes in arguments.processes:
            found = training_memory(model, processes)
            cells = (f'{found[name] / 2**30:10.2f}' for name in [*SHARDS, 'checkpoint'])
            print(f'{processes:9}', *cells)


if __name__ == '__main__':
    main()
