"""What training leaves behind: a checkpoint and a SavedModel."""

import os

import tensorflow as tf

# Parameter servers would write their own shards to their own disks.
_CHIEF = "/job:chief/replica:0/task:0/device:CPU:0"
_TYPES = {
    "bool": tf.bool,
    "int32": tf.int32,
    "int64": tf.int64,
    "float32": tf.float32,
    "float64": tf.float64,
    "string": tf.string,
    "timestamp": tf.int64,
}


class Counts(tf.Module):
    """Variables beside the model, by name."""

    def __init__(self, **variables):
        super().__init__()
        for name, variable in variables.items():
            setattr(self, name, variable)


def trackable(task):
    """The task's own variables, whatever they hang on."""
    holder = tf.Module()
    holder.variables_list = list(task.trainable_variables)
    return holder


def _io_device(me):
    return _CHIEF if me.strategy == "ps" else None


def save_checkpoint(trainer, me, agent):
    """Writes a checkpoint and tells the agent, who carries it to its place, if the job has one for it."""
    step = int(trainer.step)
    name = f"ck-{step}"
    options = tf.train.CheckpointOptions(experimental_io_device=_io_device(me))
    trainer.checkpoint.write(os.path.join(me.checkpoint_dir, name, "model"), options=options)
    # `tf.train.load_checkpoint(folder)` asks this file for the newest one.
    with open(os.path.join(me.checkpoint_dir, name, "checkpoint"), "w", encoding="utf-8") as file:
        file.write('model_checkpoint_path: "model"\n')
    agent.send("checkpoint", path=name, step=step)


def save_model(task, me):
    """Exports a SavedModel with the signature `serving_default`, completely or not at all."""
    columns = {c["name"]: c for read in me.inputs.values() for c in read.columns}
    signature = {}
    for name in task.features:
        column = columns[name]
        signature[name] = tf.TensorSpec([None], _TYPES[column["type"]], name)
        if column["nullable"]:
            signature[f"{name}_valid"] = tf.TensorSpec([None], tf.bool, f"{name}_valid")

    module = tf.Module()
    module.variables_list = list(task.trainable_variables)

    @tf.function(input_signature=[signature])
    def serving(batch):
        return task.serving(batch)

    module.serving = serving
    options = tf.saved_model.SaveOptions(experimental_io_device=_io_device(me))
    unfinished = os.path.join(os.path.dirname(me.model_dir), ".model.tmp")
    tf.saved_model.save(module, unfinished, signatures={"serving_default": serving}, options=options)
    os.rmdir(me.model_dir)
    os.rename(unfinished, me.model_dir)
