"""The NumPy side of the ring, against a producer in another process."""

import gc

import numpy as np
import pytest


def reader(producer):
    from yarn_ml import _ring

    return _ring.RingReader(producer.descriptor)


def test_batches_arrive_whole_with_masks_and_strings(produce):
    producer = produce(30, 1000)
    ring = reader(producer)
    count = 0
    for batch in ring:
        ids = np.arange(count, count + 1000)
        assert (batch.seq, batch.rows) == (count // 1000, 1000)
        np.testing.assert_array_equal(batch["id"], ids)
        valid = np.arange(1000) % 3 != 2
        np.testing.assert_array_equal(batch["x_valid"], valid)
        np.testing.assert_array_equal(batch["x"], np.where(valid, ids, 0).astype(np.float32))
        assert batch["s"][0] == f"row{count}" and batch["s"].to_numpy()[-1] == f"row{count + 999}"
        count += 1000
    assert count == 30000
    assert list(ring) == [], "the end stays the end"


def test_frames_are_held_as_long_as_a_view_lives(produce):
    ring = reader(produce(3, 10))
    first = next(ring)
    column = first["x"][2:4]
    del first
    gc.collect()
    assert ring.held == 1
    assert column.tolist() == [0.0, 3.0]
    del column
    gc.collect()
    assert ring.held == 0


def test_an_agent_that_leaves_without_an_end_is_an_error(produce):
    from yarn_ml import RingError

    producer = produce(2, 10, "no-eof")
    ring = reader(producer)
    assert [next(ring).seq, next(ring).seq] == [0, 1]
    producer.close()
    with pytest.raises(RingError, match="without an end of data"):
        next(ring)


def test_what_is_no_ring_is_refused(built, tmp_path):
    from yarn_ml import RingError, _ring

    with open(tmp_path / "empty", "w+b") as file:
        with pytest.raises(RingError, match="no ring"):
            _ring.RingReader(file.fileno())
    with pytest.raises(RingError, match="not open"):
        _ring.RingReader(987)
