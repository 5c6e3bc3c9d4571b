"""Parts of the training of one variant; :mod:`hybridflow.train` is the loop."""
