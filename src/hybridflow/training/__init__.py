"""Parts of the training of one variant; :mod:`hybridflow.training.loop` is the loop."""
