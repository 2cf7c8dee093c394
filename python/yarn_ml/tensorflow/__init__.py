"""yarn-ml for TensorFlow: samples in graph, and a harness that trains under `strategy: ps` or `none`.

    from yarn_ml import tensorflow as ymt

    class Delay(ymt.Task):
        def build(self, ctx): ...
        def step(self, batch, training): ...
        def serving(self, batch): ...

    ymt.train(Delay())
"""

from ._data import acknowledge, batches, dataset
from ._task import Task
from ._train import train

__all__ = ["Task", "acknowledge", "batches", "dataset", "train"]
