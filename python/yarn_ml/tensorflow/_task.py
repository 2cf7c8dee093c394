"""What a user of the harness writes."""


class Task:
    """One training task. The same class runs under every strategy and on every rank."""

    def build(self, ctx):
        """Makes the model's variables and sets `self.optimizer` (Keras), inside of the strategy's scope; `ctx` is
        `yarn_ml.context()`. Variables are found in `self.trainable_variables`, which by default are those of `self.model`."""
        raise NotImplementedError

    def step(self, batch, training):
        """Traced. `batch`: {column: tensor [rows]}, with `<column>_valid` masks of nullable columns. Returns the loss of each
        row and its weight: two tensors [rows]. A row of weight 0 is fed and acknowledged, and changes nothing."""
        raise NotImplementedError

    def serving(self, batch):
        """Traced. What the exported SavedModel computes: `batch` has the columns of `self.features`. Returns {name: tensor}."""
        raise NotImplementedError

    #: Names of the columns which `serving` gets.
    features = ()

    @property
    def trainable_variables(self):
        return self.model.trainable_variables
