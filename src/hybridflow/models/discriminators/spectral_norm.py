"""Spectral normalisation of a discriminator's layers (arXiv 1802.05957)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm


def normalise_spectra(model: nn.Module) -> None:
    """Divides the weight of every convolution and linear layer by an estimate of its largest singular value.

    W / s with s = u^T W v, where a step of the power iteration is v <- W^T u / |W^T u|, u <- W v / |W v|. A
    convolution's weight counts as the matrix (output channels, the rest), as in section 2.1 and appendix A of the
    paper. The vectors u and v are buffers of the layer: they are drawn here from torch's global generator and stored
    with the weights.
    """
    for layer in list(model.modules()):
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            spectral_norm(layer)


@contextmanager
def fixed_spectra(model: nn.Module, *, iterate: bool) -> Iterator[None]:
    """Within the block, every normalised layer has one weight, computed once at its start.

    By itself torch would iterate at every forward pass: also in the generator's pass, which has to leave the
    discriminator alone, differently for real and for generated images, and again when activation
    checkpointing computes a network twice. The weights are computed here, outside autocast, so that
    bfloat16 does not blur the estimate. A backward pass belongs into the block too.

    Args:
        model: may have no normalised layer; then nothing happens.
        iterate: make one step of the power iteration first; if not, the vectors stay as they are.
    """
    layers = [layer for layer in model.modules() if parametrize.is_parametrized(layer, "weight")]
    if not layers:
        yield
        return
    with parametrize.cached():
        for layer in layers:
            norm = layer.parametrizations["weight"][0]
            norm.train(iterate)
            _ = layer.weight  # into the cache
            norm.train()
        yield
