"""Is the model any good? Loads nothing but the SavedModel and scores flights that it has never seen.

    python evaluate.py MODEL TRAIN_CSV TEST_CSV

Prints JSON. Exits with 1 when the model does not beat both baselines: the rate of late flights for everybody, and a logistic
regression on the departure delay alone, fitted to the same flights.
"""

import csv
import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np  # noqa: E402

NULLS = ("NA", "")


def read(path):
    """Columns by name, as texts; flights without an arrival are left out: nobody knows whether they were late."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        names = next(rows)
        kept = [row for row in rows if row[names.index("arr_delay")] not in NULLS]
    return {name: [row[n] for row in kept] for n, name in enumerate(names)}


def numbers(texts):
    """Values and which of them are there."""
    valid = np.array([text not in NULLS for text in texts])
    return np.array([float(t) if v else 0.0 for t, v in zip(texts, valid)], np.float32), valid


def auc(late, score):
    """The chance that a late flight has the higher score; ties count half."""
    order = np.argsort(score, kind="mergesort")
    _, first, counts = np.unique(score[order], return_index=True, return_counts=True)
    ranks = np.empty(len(score))
    ranks[order] = np.repeat(first + (counts + 1) / 2.0, counts)
    positives = late.sum()
    return float((ranks[late].sum() - positives * (positives + 1) / 2) / (positives * (len(late) - positives)))


def log_loss(late, score):
    score = np.clip(score.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-np.mean(np.where(late, np.log(score), np.log(1 - score))))


def logistic(x, late, steps=30):
    """Weight and bias by Newton's method."""
    inputs = np.stack([x.astype(np.float64), np.ones(len(x))], axis=1)
    weights = np.zeros(2)
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(inputs @ weights, -30, 30)))
        gradient = inputs.T @ (late - p)
        hessian = (inputs * (p * (1 - p))[:, None]).T @ inputs + 1e-6 * np.eye(2)
        weights += np.linalg.solve(hessian, gradient)
    return weights


def score(model, columns):
    import tensorflow as tf

    serving = tf.saved_model.load(model).signatures["serving_default"]
    specs = serving.structured_input_signature[1]
    rows = len(columns["carrier"])
    out = []
    for begin in range(0, rows, 4096):
        part = {name: texts[begin : begin + 4096] for name, texts in columns.items()}
        inputs = {}
        for name, spec in specs.items():
            if name.endswith("_valid"):
                inputs[name] = tf.constant([t not in NULLS for t in part[name[: -len("_valid")]]])
            elif spec.dtype == tf.string:
                inputs[name] = tf.constant(["" if t in NULLS else t for t in part[name]])
            else:
                inputs[name] = tf.constant(numbers(part[name])[0], spec.dtype)
        out.append(serving(**inputs)["late"].numpy())
    return np.concatenate(out)


def main(model, train_csv, test_csv):
    train, test = read(train_csv), read(test_csv)
    late = numbers(test["arr_delay"])[0] > 0
    train_late = numbers(train["arr_delay"])[0] > 0
    weight, bias = logistic(numbers(train["dep_delay"])[0], train_late)
    scores = {
        "model": score(model, test),
        "constant": np.full(len(late), train_late.mean()),
        "dep_delay": 1 / (1 + np.exp(-(weight * numbers(test["dep_delay"])[0] + bias))),
    }
    quality = {name: {"auc": auc(late, s), "log_loss": log_loss(late, s)} for name, s in scores.items()}
    ours = quality.pop("model")
    print(json.dumps({"model": ours, "baselines": quality}))
    beaten = all(ours["auc"] > q["auc"] and ours["log_loss"] < q["log_loss"] for q in quality.values())
    if not beaten:
        sys.exit("the model does not beat its baselines")


if __name__ == "__main__":
    main(*sys.argv[1:4])
