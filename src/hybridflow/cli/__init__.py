"""The ``hybridflow`` command."""
