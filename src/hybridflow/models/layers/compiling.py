"""Compilation of the networks inside a flow: fewer and larger kernels, for minutes of compiling."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from hybridflow.runtime.errors import UserError

VARIANTS_OF_A_NETWORK = 256
"""How many versions of one network class may be compiled: one per shape, mode of BatchNorm, and with or without
gradients. torch's own limit of 8 is for one function that is called with more and more shapes; DenseFlow-74-10 has 11
shapes of coupling networks."""


class OwnsNetwork:
    """Base of the transforms whose ``net`` computes scales and shifts: what :func:`compile_networks` compiles."""

    net: nn.Module


def compile_networks(flow: nn.Module, backend: str = "inductor") -> None:
    """From now on, the networks that compute scales and shifts run compiled (torch.compile).

    Networks of one shape share what is compiled. The flow's own arithmetic is left as it is, and so are weights, their
    names and, up to rounding, all results.

    Args:
        flow: after its data-dependent initialisation, in any mode.
        backend: of torch.compile.
    """
    torch._dynamo.config.recompile_limit = VARIANTS_OF_A_NETWORK  # an argument of torch.compile only in late versions
    for module in flow.modules():
        if isinstance(module, OwnsNetwork):
            module.net.compile(backend=backend, dynamic=False)


@contextmanager
def compiling(label: str, *, silent: bool = False) -> Iterator[None]:
    """Says why nothing seems to happen while the block compiles, and turns a failure into one sentence.

    Args:
        label: the job, for the messages.
        silent: without the first message.

    Raises:
        UserError: the compiler is missing or failed.
    """
    if not silent:
        print(f"{label}: compiling the networks; the first step takes minutes", file=sys.stderr, flush=True)
    try:
        yield
    except torch._dynamo.exc.TorchDynamoException as error:
        cause = getattr(error, "inner_exception", error)
        reason = next((line.strip() for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
        raise UserError(
            f"{label}: torch.compile failed ({reason}); install what it needs (on a CPU a C++ compiler such as g++, "
            "on a GPU triton too), or set training.compile to false."
        ) from error


@contextmanager
def uncompiled() -> Iterator[None]:
    """Within the block, networks run as they are: for work on other shapes, seldom done."""
    with torch.compiler.set_stance("force_eager"):
        yield
