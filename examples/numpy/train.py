"""Fits y = a x + b by stochastic gradient descent, each worker on its own share of the rows."""

import numpy as np

import yarn_ml

context = yarn_ml.context()
rate = context.params["learning_rate"]
slope = intercept = 0.0
rows = row_ids = 0

for step, batch in enumerate(yarn_ml.input()):
    known = batch["x_valid"] & batch["y_valid"]
    x, y = batch["x"][known], batch["y"][known]
    if len(x):
        error = slope * x + intercept - y
        slope -= rate * float(np.mean(error * x))
        intercept -= rate * float(np.mean(error))
    rows += batch.rows
    row_ids += int(batch["row_id"].sum())
    if step % 50 == 0:
        yarn_ml.report(step=step, loss=float(np.mean(error**2)) if len(x) else 0.0)

print(f"rows {rows} row_ids {row_ids} slope {slope:.3f} intercept {intercept:.3f}")
