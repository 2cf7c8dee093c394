"""Workers and parameter servers: TensorFlow's own server, until somebody ends it."""

import threading

import tensorflow as tf

from .. import _tfop
from .._context import connection


def serve(me):
    """Never returns. Listens on a port of its own choice and tells it: one that was chosen before could be taken since."""
    if me.role == "worker":
        _tfop.library()
    # Only the chief needs the true cluster; the others are dummies that give this one its index.
    addresses = ["127.0.0.1:1"] * me.index + ["0.0.0.0:0"]
    server = tf.distribute.Server({me.role: addresses}, job_name=me.role, task_index=me.index, protocol="grpc")
    port = int(server.target.rsplit(":", 1)[1])
    connection().send("bound", port=port)
    print(f"{me.role}:{me.index} serves at port {port}", flush=True)
    # Not `join()`, in which Python's signal handlers never run.
    threading.Event().wait()
