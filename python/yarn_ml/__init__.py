"""yarn-ml in a trainer: who am I, where are my samples, what do I report.

    import yarn_ml

    context = yarn_ml.context()
    for batch in yarn_ml.input():       # {column: NumPy array}, zero-copy
        ...
        yarn_ml.report(loss=loss)

`yarn_ml.tensorflow` feeds TensorFlow in graph and brings a training harness.
"""

from ._context import Context, Input, context, input, report, stop
from ._ring import Batch, RingError, RingReader, StringColumn

__all__ = [
    "Batch",
    "Context",
    "Input",
    "RingError",
    "RingReader",
    "StringColumn",
    "context",
    "input",
    "report",
    "stop",
]
