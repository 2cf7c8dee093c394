"""The TensorFlow side of the ring, against a producer in another process."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

COLUMNS = [
    {"name": "x", "type": "float32", "nullable": True},
    {"name": "id", "type": "int64", "nullable": False},
    {"name": "s", "type": "string", "nullable": False},
]


def dataset(producer):
    from yarn_ml import _tfop

    return _tfop.raw_dataset(COLUMNS, ring=str(producer.descriptor))


def real(found):
    found = found.filter(lambda waiting: waiting["status"] != -1)
    return found.take_while(lambda going_on: going_on["status"] >= 0)


def test_batches_arrive_in_graph_with_masks_and_strings(produce):
    found = real(dataset(produce(20, 1000)))

    @tf.function
    def total():
        return found.reduce(
            (tf.constant(0, tf.int64), tf.constant(0.0, tf.float64)),
            lambda state, e: (
                state[0] + tf.reduce_sum(e["batch"]["id"]),
                state[1] + tf.reduce_sum(tf.cast(e["batch"]["x"], tf.float64)),
            ),
        )

    ids, x = total()
    every = np.arange(20000)
    assert int(ids) == every.sum()
    assert float(x) == every[every % 1000 % 3 != 2].sum()


def test_elements_carry_their_numbers(produce):
    first = next(iter(real(dataset(produce(2, 10)))))
    assert [int(first[name]) for name in ("status", "rank", "seq", "epoch")] == [10, 5, 0, 1]
    assert first["batch"]["s"].numpy().tolist() == [f"row{n}".encode() for n in range(10)]
    assert first["batch"]["x_valid"].numpy().tolist() == [True, True, False] * 3 + [True]


def test_the_end_is_told_again_and_again(produce):
    found = iter(dataset(produce(1, 10)))
    statuses = [int(next(found)["status"]) for _ in range(4)]
    assert statuses == [10, -2, -2, -2]


def test_a_missing_ring_and_a_dead_producer_are_errors(produce):
    from yarn_ml import _tfop

    with pytest.raises(tf.errors.InvalidArgumentError, match="YARN_ML_NOTHING"):
        next(iter(_tfop.raw_dataset(COLUMNS, ring="$YARN_ML_NOTHING")))
    producer = produce(1, 10, "no-eof")
    found = iter(dataset(producer))
    next(found)
    producer.close()
    with pytest.raises(tf.errors.DataLossError, match="without an end of data"):
        while True:
            next(found)


def test_a_blocked_iterator_ends_when_it_is_dropped(produce):
    found = iter(dataset(produce(0, 10, "wait")).filter(lambda e: e["status"] != -1))
    blocked = threading.Thread(target=lambda: next(found, None), daemon=True)
    blocked.start()
    assert blocked.is_alive()
    # Waiting for data that does not come must not keep a program from its end.
    program = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from yarn_ml import _tfop
found = iter(_tfop.raw_dataset([], ring=sys.argv[2]).filter(lambda e: e["status"] != -1))
threading.Thread(target=lambda: next(found), daemon=True).start()
print("waiting")
"""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    producer = produce(0, 10, "wait")
    os.set_inheritable(producer.descriptor, True)
    done = subprocess.run(
        [sys.executable, "-c", program, root, str(producer.descriptor)],
        pass_fds=[producer.descriptor],
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "waiting\n", done.stderr
