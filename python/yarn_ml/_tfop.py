"""The ring in TensorFlow graphs."""

import os

# TensorFlow's start-up noise, unless the user asked for it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf  # noqa: E402

from . import _native  # noqa: E402

RING = "$YARN_ML_RING_INPUT"
IDLE, END = -1, -2

_TYPES = {
    "bool": tf.bool,
    "int32": tf.int32,
    "int64": tf.int64,
    "float32": tf.float32,
    "float64": tf.float64,
    "string": tf.string,
    "timestamp": tf.int64,
}

_library = None


def library():
    """The ops; loading them registers their kernels, which every process that executes them needs."""
    global _library
    if _library is None:
        _library = tf.load_op_library(_native.library_path("libyarn_ml_tf_op.so"))
    return _library


def raw_dataset(columns, ring=RING):
    """An endless dataset of {"status", "rank", "seq", "epoch", "batch": {column: tensor}}.

    `status` is a number of rows, or IDLE when nothing came for a while, or END, again and again, after the end of data. The ring
    is that of the process which executes the op; `columns` are known where the graph is built.
    """
    op = library().yarn_ml_ring_next
    names, types, layout = [], [], ""
    for column in columns:
        names.append(column["name"])
        types.append(_TYPES[column["type"]])
        letter = "s" if column["type"] == "string" else "f"
        if column["nullable"]:
            names.append(f"{column['name']}_valid")
            types.append(tf.bool)
            letter = letter.upper()
        layout += letter

    def element(_):
        found = op(ring=ring, layout=layout, types=types)
        tensors = [tf.ensure_shape(tensor, [None]) for tensor in found.columns]
        scalars = {name: tf.ensure_shape(getattr(found, name), []) for name in ("status", "rank", "seq", "epoch")}
        return {**scalars, "batch": dict(zip(names, tensors))}

    return tf.data.Dataset.counter().map(element)


def acknowledge(seq, ring=RING):
    """In graph: every batch of this process's ring up to `seq` was trained on."""
    return library().yarn_ml_ring_ack(tf.cast(seq, tf.int64), ring=ring)
