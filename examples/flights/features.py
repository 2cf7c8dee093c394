"""From the columns of a flight to the inputs of the model; the same for training and for serving."""

import math

import tensorflow as tf

NUMBERS = ("dep_delay", "sched_dep_time", "sched_arr_time", "distance")
#: Tables of embeddings, and how many rows each has.
TABLES = {"carrier": 64, "origin": 16, "dest": 256, "tailnum": 8192}


def minutes(clock):
    """`1345` is a quarter to two in the afternoon."""
    hours = tf.floor(clock / 100.0)
    return hours * 60.0 + (clock - hours * 100.0)


def numbers(batch):
    """[rows, 7] float32. A missing departure delay is told as such: the flight has not left."""
    delay = batch["dep_delay"]
    known = tf.cast(batch["dep_delay_valid"], tf.float32)
    departure, arrival = minutes(batch["sched_dep_time"]), minutes(batch["sched_arr_time"])
    flight = tf.math.floormod(arrival - departure, 24.0 * 60.0)
    turn = 2.0 * math.pi * departure / (24.0 * 60.0)
    columns = [
        tf.clip_by_value(delay / 30.0, -2.0, 4.0),
        tf.sign(delay) * tf.math.log1p(tf.abs(delay)) / 3.0,
        known,
        flight / 300.0,
        batch["distance"] / 1500.0,
        tf.sin(turn),
        tf.cos(turn),
    ]
    return tf.stack(columns, axis=1)


def rows_of(batch, table):
    """[rows] int64: which row of a table each flight looks up."""
    return tf.strings.to_hash_bucket_fast(batch[table], TABLES[table])
