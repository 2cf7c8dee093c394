"""Batches from the agent, as NumPy arrays over shared memory."""

import ctypes
import json
import struct

import numpy as np

from . import _native

_SCHEMA, _BATCH = 1, 2
_DENSE = 2
_FIXED = {
    "bool": np.dtype(np.bool_),
    "int32": np.dtype(np.int32),
    "int64": np.dtype(np.int64),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
    # Microseconds since the epoch.
    "timestamp": np.dtype(np.int64),
}
# Between looks at signals, milliseconds.
_SLICE = 200


class RingError(RuntimeError):
    """The agent failed, or is gone without having told the end of data."""


class StringColumn:
    """Strings of a batch: `offsets` (int64, [rows + 1]) into `data` (bytes)."""

    def __init__(self, offsets, data):
        self.offsets = offsets
        self.data = data

    def __len__(self):
        return len(self.offsets) - 1

    def __getitem__(self, row):
        if row < 0:
            row += len(self)
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self.data[self.offsets[row] : self.offsets[row + 1]].tobytes().decode("utf-8")

    def to_numpy(self):
        """A copy, [rows] objects of type str."""
        data, offsets = self.data.tobytes(), self.offsets.tolist()
        texts = [data[begin:end].decode("utf-8") for begin, end in zip(offsets, offsets[1:])]
        return np.array(texts, dtype=object)


class Batch(dict):
    """Columns by name. A nullable column `x` has a mask `x_valid` besides.

    Arrays are views of shared memory: they stay valid as long as somebody holds them, and hold up the agent as long.
    """

    def __init__(self, columns, seq, rows, epoch):
        super().__init__(columns)
        self.seq = seq
        self.rows = rows
        self.epoch = epoch


class RingReader:
    """Iterates over the batches of a ring.

    Batch n is acknowledged when batch n + 1, or the end, is asked for: a program that leaves early has not acknowledged its last
    one.
    """

    def __init__(self, descriptor):
        self._library = _native.library()
        self._ring = self._library.yarn_ml_ring_open(descriptor)
        if not self._ring:
            raise RingError(_native.last_error())
        self._columns = None
        self._unacknowledged = None

    @property
    def held(self):
        """Frames that this process has not let go."""
        return self._library.yarn_ml_ring_held(self._ring) if self._ring else 0

    def acknowledge(self, seq):
        """Every batch up to `seq` was trained on."""
        self._library.yarn_ml_ring_acknowledge(self._ring, seq)

    def close(self):
        if self._ring:
            self._library.yarn_ml_ring_close(self._ring)
            self._ring = None

    def __iter__(self):
        return self

    def __next__(self):
        if self._unacknowledged is not None:
            self.acknowledge(self._unacknowledged)
            self._unacknowledged = None
        while True:
            frame = _native.Frame()
            # ctypes releases the GIL; between slices Python's signal handlers run.
            found = self._library.yarn_ml_ring_next(self._ring, _SLICE, ctypes.byref(frame))
            if found == 0:
                continue
            if found == 2:
                raise StopIteration
            if found < 0:
                raise RingError(_native.last_error())
            memory = _memory(self._library, frame)
            if frame.kind == _SCHEMA:
                self._columns = json.loads(bytes(memory))["columns"]
                continue
            if frame.codec != _DENSE or self._columns is None:
                raise RingError(f"a batch of codec {frame.codec} came where dense columns were due")
            self._unacknowledged = frame.seq
            return Batch(_columns(memory, self._columns, frame.rows), frame.seq, frame.rows, frame.epoch)


class _Owner:
    """Gives a frame back when the last view of its memory is gone."""

    def __init__(self, library, handle):
        self._library, self._handle = library, handle

    def __del__(self):
        self._library.yarn_ml_frame_release(self._handle)


def _memory(library, frame):
    owner = _Owner(library, frame.handle)
    if frame.length == 0:
        return np.empty(0, np.uint8)
    kind = type("_Bytes", (ctypes.c_uint8 * frame.length,), {})
    raw = kind.from_address(frame.data)
    # Views keep their base alive, and the base keeps the frame.
    raw.owner = owner
    return np.frombuffer(raw, np.uint8)


def _columns(memory, columns, rows):
    (count,) = struct.unpack_from("<I", memory, 0)
    table = struct.unpack_from(f"<{2 * count}Q", memory, 8)
    buffers = iter(zip(table[::2], table[1::2]))

    def take(dtype):
        offset, length = next(buffers)
        if offset + length > memory.nbytes:
            raise RingError(f"a column lies at byte {offset} of a batch of {memory.nbytes} bytes")
        return memory[offset : offset + length].view(dtype)

    out = {}
    for column in columns:
        name, kind = column["name"], column["type"]
        out[name] = StringColumn(take(np.int64), take(np.uint8)) if kind == "string" else take(_FIXED[kind])
        if len(out[name]) != rows:
            raise RingError(f"column {name} has {len(out[name])} values in a batch of {rows} rows")
        if column["nullable"]:
            out[f"{name}_valid"] = take(np.bool_)
    return out
