"""Trains the model of job.yaml: embeddings of carrier, origin, destination and aircraft, and a small network on top."""

import tensorflow as tf

import features
from yarn_ml import tensorflow as ymt


class Delay(ymt.Task):
    features = features.NUMBERS + tuple(features.TABLES)

    def build(self, ctx):
        size, hidden = ctx.params["embedding"], ctx.params["hidden"]
        make = tf.random.Generator.from_seed(1)
        self.tables = {
            name: tf.Variable(make.normal([rows, size], stddev=0.05), name=f"table_{name}")
            for name, rows in features.TABLES.items()
        }
        self.layers = []
        width = 7 + size * len(self.tables)
        for index, units in enumerate([*hidden, 1]):
            kernel = make.normal([width, units], stddev=(2.0 / width) ** 0.5)
            self.layers.append(
                (tf.Variable(kernel, name=f"kernel_{index}"), tf.Variable(tf.zeros([units]), name=f"bias_{index}"))
            )
            width = units
        self.optimizer = tf.keras.optimizers.Adagrad(ctx.params["learning_rate"])

    @property
    def trainable_variables(self):
        return list(self.tables.values()) + [variable for layer in self.layers for variable in layer]

    def logits(self, batch):
        inputs = [features.numbers(batch)]
        for name, table in self.tables.items():
            inputs.append(tf.nn.embedding_lookup(table, features.rows_of(batch, name)))
        x = tf.concat(inputs, axis=1)
        for index, (kernel, bias) in enumerate(self.layers):
            x = tf.matmul(x, kernel) + bias
            if index + 1 < len(self.layers):
                x = tf.nn.relu(x)
        return tf.squeeze(x, axis=1)

    def step(self, batch, training):
        late = tf.cast(batch["arr_delay"] > 0.0, tf.float32)
        # A flight that never arrived teaches nothing, but it is fed and acknowledged like the others.
        weight = tf.cast(batch["arr_delay_valid"], tf.float32)
        return tf.nn.sigmoid_cross_entropy_with_logits(late, self.logits(batch)), weight

    def serving(self, batch):
        return {"late": tf.sigmoid(self.logits(batch))}


ymt.train(Delay())
