"""A visualizer that does not import matplotlib until something is drawn."""

from types import SimpleNamespace
from typing import Any

from mmengine import visualization

from mmmask.registry import VISUALIZERS

FIGURE = ('fig_save_canvas', 'fig_save', 'ax_save', 'dpi')


@VISUALIZERS.register_module()
class Visualizer(visualization.Visualizer):
    """mmengine's ``Visualizer``, whose figure is created when it is first used.

    Scalars and finished pictures, all that a pre-training logs, need no figure, and matplotlib
    takes a second to import.

    All arguments are those of mmengine's class.
    """

    def __init__(self, name: str = 'visualizer', image=None, **kwargs) -> None:
        super().__init__(name, **kwargs)
        for attribute in FIGURE:
            delattr(self, attribute)
        if image is not None:
            self.set_image(image)

    def _initialize_fig(self, fig_cfg: dict) -> tuple:
        """Nothing yet; the parent class asks for the resolution in its constructor."""
        return None, SimpleNamespace(get_dpi=lambda: None), None

    def __getattr__(self, name: str) -> Any:
        if name not in FIGURE:
            raise AttributeError(f'{type(self).__name__} has no attribute {name!r}')
        figure = super()._initialize_fig(self.fig_save_cfg)
        self.fig_save_canvas, self.fig_save, self.ax_save = figure
        self.dpi = self.fig_save.get_dpi()
        return self.__dict__[name]
