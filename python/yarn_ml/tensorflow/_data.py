"""Datasets for scripts that bring their own loop."""

from .. import _tfop
from .._context import context


def _elements():
    me = context()
    if me.role not in me.inputs:
        raise RuntimeError(f"role {me.role} has no `input:` in the job file")
    found = _tfop.raw_dataset(me.inputs[me.role].columns)
    found = found.filter(lambda waiting: waiting["status"] != _tfop.IDLE)
    return found.take_while(lambda going_on: going_on["status"] >= 0)


def dataset():
    """The batches of this rank, in graph: elements are {column: tensor}; it ends with the data.

    TensorFlow prefetches, so that taking a batch says nothing: the program acknowledges by `acknowledge(seq)` in the step that
    used it, with the `seq` of `dataset` elements' key "seq", or iterates over `batches()`, which does it.
    """
    return _elements().map(lambda e: {**e["batch"], "seq": e["seq"]})


def batches():
    """The same batches for a plain loop. A batch counts as trained on when the next one, or the end, is asked for."""
    for element in dataset():
        seq = element.pop("seq")
        yield element
        acknowledge(seq)


def acknowledge(seq):
    """Every batch up to `seq` was trained on. Works in graph and eagerly."""
    return _tfop.acknowledge(seq)
