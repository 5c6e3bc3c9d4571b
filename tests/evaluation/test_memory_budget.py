"""Counting the bytes of live tensors: by hand on small computations."""

import pytest
import torch
import torch.nn.functional as F

from hybridflow.evaluation.memory_budget import LiveBytes, PassMemory, count_memory
from hybridflow.models.layers.dense_buffer import dense_layers


def test_tensors_count_while_they_live():
    with LiveBytes() as memory:
        a = torch.zeros(10)  # 40 bytes
        b = a + 1  # 40 more
        del a
        c = b.double()  # 80 more
        del b
        torch.ones(3)  # 12, and gone at once
    assert memory.history == [40, 80, 120, 92]
    assert (memory.live, memory.peak) == (80, 120)
    del c
    assert memory.live == 0


def test_a_storage_counts_once_until_its_last_view_is_gone():
    with LiveBytes() as memory:
        a = torch.zeros(4, 5)
        b = a[1:].view(15).detach()
        a.add_(1).t().mul_(2)
        torch.clamp_min(a, 1, out=a[:])
        torch.clamp_min(a[0], 1, out=a[1])
        parts = [*a.unbind(), a]
        assert memory.history == [80] * len(memory.history)
        del a, parts
        assert memory.live == 80
        del b
        assert memory.live == 0
    assert memory.peak == 80


def test_a_storage_that_grows():
    with LiveBytes() as memory:
        out = torch.empty(0)
        torch.ones(5, out=out)
        assert memory.live == out.untyped_storage().nbytes() == 20
        out.resize_(7)
    assert memory.history[0] == 0
    assert memory.live == out.untyped_storage().nbytes() == 28
    del out
    assert memory.live == 0


def test_what_was_there_before_does_not_count():
    weight, x = torch.ones(3, 2), torch.ones(4, 2)
    with LiveBytes() as memory:
        weight.t().mul_(2)
        view = weight.view(6)
        product = x @ weight.t()
    assert memory.peak == memory.live == product.untyped_storage().nbytes() == 48
    del view, product
    assert memory.live == 0


@torch.no_grad()
def test_operators_inside_the_dense_layers_are_seen():
    n, side, channels, growth = 2, 4, 3, 5
    widths = [channels, channels + growth]
    parameters = []
    for c in widths:
        parameters += [torch.randn(c, c, 1, 1), torch.randn(c), torch.randn(growth, c, 3, 3), torch.randn(growth)]
    x = torch.randn(n, channels, side, side)
    with LiveBytes() as memory:
        out = dense_layers(x, [parameter.requires_grad_() for parameter in parameters])
    pixels = 4 * n * side * side  # bytes of one channel
    # The common buffer, and of one layer alone the hidden channels and the new ones: no gradient will need others.
    assert memory.peak == pixels * (channels + 2 * growth + widths[-1] + growth)
    assert memory.live == pixels * (channels + 2 * growth)
    del out
    assert memory.live == 0


@torch.no_grad()
def test_the_constant_part_and_the_part_per_row():
    weight, kept = torch.randn(6, 5).requires_grad_(), {}

    def work(rows: int) -> None:
        if not kept:
            kept["inverse"] = torch.zeros(1000)  # made once: no part of later passes
        with torch.autocast("cpu", dtype=torch.bfloat16):
            F.linear(torch.ones(rows, 5), weight)

    memory = count_memory(work)
    # Input 20 bytes a row; then its copy in bf16, 10; the weight's copy in bf16, 60; the product in bf16, 12 a row.
    assert memory.bytes_of(7) == 60 + 7 * (20 + 10 + 12)
    for rows in (1, 2, 50):
        with LiveBytes() as counted:
            work(rows)
        assert counted.peak == memory.bytes_of(rows)


def test_a_peak_that_moves_with_the_rows_is_found():
    def work(rows: int) -> None:
        torch.ones(1000)  # 4000 bytes, and gone
        torch.ones(rows, 10)  # 40 a row

    memory = count_memory(work)
    assert [memory.bytes_of(rows) for rows in (1, 2, 3, 100, 101)] == [4000, 4000, 4000, 4000, 4040]
    assert memory.rows_within(3999) == 0
    assert [memory.rows_within(budget) for budget in (4000, 4039, 4040)] == [100, 100, 101]


def test_rows_within_a_budget_are_the_most_that_fit():
    memory = PassMemory(((100, 7), (5, 30), (90, 0), (0, 31)))
    for budget in range(400):
        rows = memory.rows_within(budget)
        assert rows == 0 or memory.bytes_of(rows) <= budget
        assert memory.bytes_of(rows + 1) > budget
    assert PassMemory(((500, 0), (0, 1))).rows_within(499) == 0


def test_other_operators_on_other_rows_are_refused():
    with pytest.raises(ValueError, match="longer"):
        count_memory(lambda rows: [torch.ones(1) for _ in range(rows)])
