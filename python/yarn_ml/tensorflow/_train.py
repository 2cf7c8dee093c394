"""The training harness: which rank does what."""

import os
import sys
import time
import traceback

import tensorflow as tf

from .. import _tfop
from .._context import connection, context, report, stop
from . import _export, _server
from ._progress import Progress

#: Column whose sum is kept beside the model, so that anyone can check which rows it was trained on.
ROW_ID = "row_id"
#: Steps under way for each worker: enough that none of them waits for the chief.
_AHEAD = 3


def train(task):
    """Trains a `Task` to the end of its data; returns on the rank that leads, and never on servers.

    Under `strategy: ps` the chief schedules steps on workers, which read their own rings; under `none` this process does it
    all. A batch is acknowledged when the step in which the optimizer applied it has finished.
    """
    me = context()
    try:
        if me.strategy == "ps" and me.role != "chief":
            _server.serve(me)
        elif me.strategy == "ps":
            _train_ps(task, me)
        else:
            _train_alone(task, me)
    except BaseException:
        # TensorFlow's own way out may wait for servers that are gone.
        traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class _Trainer:
    """The model, and beside it the counts of what it was trained on."""

    def __init__(self, task, me, role):
        self.task = task
        self.input = me.inputs[role]
        ranks = self.input.instances
        task.build(me)
        task.optimizer.build(task.trainable_variables)
        counts = {"dtype": tf.int64, "trainable": False}
        self.rows = tf.Variable(tf.zeros([ranks], tf.int64), name="rows", **counts)
        self.row_id_sum = tf.Variable(tf.zeros([ranks], tf.int64), name="row_id_sum", **counts)
        self.position = tf.Variable(tf.zeros([ranks], tf.int64), name="position", **counts)
        self.step = tf.Variable(0, name="step", **counts)
        self.checkpoint = tf.train.Checkpoint(
            task=_export.trackable(task),
            optimizer=task.optimizer,
            yarn_ml=_export.Counts(
                rows=self.rows, row_id_sum=self.row_id_sum, position=self.position, step=self.step
            ),
        )

    def apply(self, element):
        """One element of the ring. Returns [status, rank, seq] and the mean loss."""
        status, rank, seq = element["status"], element["rank"], element["seq"]
        loss = tf.constant(0.0)
        if status > 0:
            # Keras's optimizers want to be called in a replica's context, and that one within the branch.
            loss = tf.distribute.get_strategy().run(self._update, args=(status, rank, element["batch"]))
        return tf.stack([status, rank, seq]), loss

    def _update(self, rows, rank, batch):
        with tf.GradientTape() as tape:
            losses, weights = self.task.step(batch, True)
            loss = tf.reduce_sum(losses * weights) / tf.maximum(tf.reduce_sum(weights), 1.0)
        variables = self.task.trainable_variables
        self.task.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        place = tf.one_hot(rank, self.input.instances, dtype=tf.int64)
        self.rows.assign_add(place * rows)
        if ROW_ID in batch:
            self.row_id_sum.assign_add(place * tf.reduce_sum(tf.cast(batch[ROW_ID], tf.int64)))
        self.position.assign_add(place)
        self.step.assign_add(1)
        return loss


class _Acknowledged:
    """Steps of a rank finish in any order; what is acknowledged is what has no gap before it."""

    def __init__(self):
        self._next, self._later, self._told = {}, {}, {}

    def finished(self, rank, seq):
        later = self._later.setdefault(rank, set())
        later.add(seq)
        due = self._next.get(rank, 0)
        while due in later:
            later.remove(due)
            due += 1
        self._next[rank] = due

    def news(self):
        """[(rank, seq)] since the last call."""
        found = [(rank, due - 1) for rank, due in self._next.items() if due > self._told.get(rank, 0)]
        self._told.update({rank: seq + 1 for rank, seq in found})
        return found


def _train_ps(task, me):
    readers = [role for role in me.inputs if role == "worker"]
    if not readers:
        raise RuntimeError("`strategy: ps` trains on what `worker` reads, and that role has no `input:`")
    agent = connection()
    _tfop.library()
    cluster = agent.ask("cluster", "cluster")["cluster"]
    ends = [role for role in ("chief", "worker", "ps") if role in cluster]
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({role: cluster[role] for role in ends}), task_type="chief", task_id=0, rpc_layer="grpc"
    )
    strategy = tf.distribute.ParameterServerStrategy(resolver)
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    with strategy.scope():
        trainer = _Trainer(task, me, "worker")
    columns = trainer.input.columns
    iterator = iter(coordinator.create_per_worker_dataset(lambda: _tfop.raw_dataset(columns).prefetch(2)))

    @tf.function
    def step(elements):
        return trainer.apply(next(elements))

    acknowledged, progress, ended, under_way = _Acknowledged(), Progress(), set(), []
    ranks = trainer.input.instances
    drained = False

    def finish(value):
        (status, rank, seq), loss = value.fetch()
        if status == _tfop.END:
            ended.add(int(rank))
        elif status > 0:
            acknowledged.finished(int(rank), int(seq))
            progress.step(int(status), float(loss))

    while len(ended) < ranks and not drained:
        while len(under_way) < _AHEAD * ranks:
            under_way.append(coordinator.schedule(step, args=(iterator,)))
        finish(under_way.pop(0))
        if progress.is_due():
            _tell(agent, acknowledged.news(), "worker")
            report(**progress.values())
        drained = agent.drain.is_set()
    for value in under_way:
        finish(value)
    coordinator.join()
    _tell(agent, acknowledged.news(), "worker")
    report(**progress.values())
    _finish(trainer, me, agent, drained)


def _train_alone(task, me):
    agent = connection()
    trainer = _Trainer(task, me, me.role)
    elements = iter(_tfop.raw_dataset(trainer.input.columns).prefetch(2))
    step = tf.function(trainer.apply)
    progress, drained = Progress(), False
    while not drained:
        (status, _, seq), loss = step(next(elements))
        if status == _tfop.END:
            break
        if status > 0:
            _tfop.acknowledge(seq)
            progress.step(int(status), float(loss))
        if progress.is_due():
            report(**progress.values())
        drained = agent.drain.is_set()
    report(**progress.values())
    _finish(trainer, me, agent, drained)


def _tell(agent, news, role):
    if news:
        agent.send("ack", acks=[{"role": role, "index": rank, "seq": seq} for rank, seq in news])


def _finish(trainer, me, agent, drained):
    began = time.monotonic()
    if drained:
        stop("drained")
    _export.save_checkpoint(trainer, me, agent)
    _export.save_model(trainer.task, me)
    print(f"trained {int(trainer.step)} steps; saved in {time.monotonic() - began:.1f} s", flush=True)
