"""What a training loop shows to people."""

import time


class Progress:
    """Steps, rows a second and the mean loss since it was last told."""

    def __init__(self, every=1.0):
        self._every = every
        self._told = time.monotonic()
        self._steps = 0
        self._rows = self._losses = self._count = 0

    def step(self, rows, loss):
        self._steps += 1
        self._rows += rows
        self._losses += loss
        self._count += 1

    def is_due(self):
        return time.monotonic() - self._told >= self._every

    def values(self):
        now = time.monotonic()
        seconds = max(now - self._told, 1e-3)
        out = {"step": self._steps, "rows_per_second": round(self._rows / seconds)}
        if self._count:
            out["loss"] = round(self._losses / self._count, 5)
        self._told, self._rows, self._losses, self._count = now, 0, 0, 0
        return out
