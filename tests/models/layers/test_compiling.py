"""Compiled networks: the same numbers, one compilation for all networks of a shape, failures in one sentence."""

from __future__ import annotations

import copy
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
from flow_step import randomised_flow, step
from torch._dynamo.testing import CompileCounterWithBackend
from trainings import CPU, IMAGES, job, rows

from hybridflow.config.generators import CouplingSettings, DenseFlowSettings, DequantizationSettings
from hybridflow.models.checkpoint import read_tensors
from hybridflow.models.generators.denseflow import DenseFlow
from hybridflow.models.layers.compiling import compile_networks, compiling, uncompiled
from hybridflow.models.layers.precision import network_precision
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.noise import GeneratorNoise
from hybridflow.training.loop import train
from hybridflow.training.step import training_step

X = torch.randint(0, 256, (4, 3, 8, 8), generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def nothing_compiled() -> None:
    torch._dynamo.reset()


def small_flow(steps: int = 1, units: int = 1) -> DenseFlow:
    """One scale, uniform dequantization: every network but those of augmentations is a coupling's."""
    torch.manual_seed(0)
    settings = DenseFlowSettings(
        units=(units,),
        steps_per_unit=(steps,),
        growth_rate=2,
        coupling=CouplingSettings(mid_channels=(4,), depth=2, growth=4),
        dequantization=DequantizationSettings(kind="uniform"),
    )
    flow = DenseFlow(settings, (3, 8, 8))
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return flow.train()


def backward(flow: DenseFlow) -> dict[str, torch.Tensor]:
    flow.zero_grad()
    loss = flow.log_prob(X, GeneratorNoise(1)).mean()
    loss.backward()
    return {"loss": loss.detach()} | {name: parameter.grad for name, parameter in flow.named_parameters()}


@pytest.mark.parametrize("checkpointing", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_gradients_and_statistics_are_those_of_the_networks_as_they_are(checkpointing: bool) -> None:
    flow, compiled = randomised_flow(), randomised_flow()
    backend = CompileCounterWithBackend("aot_eager")
    compile_networks(compiled, backend)
    expected, _ = step(flow, checkpointing)
    found, _ = step(compiled, checkpointing)
    assert backend.frame_count > 0
    assert not torch._dynamo.utils.counters["graph_break"]
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-12, msg=lambda text, name=name: name + text)


@pytest.mark.slow
def test_the_default_compiler_gives_the_same_gradients() -> None:
    flow = small_flow()
    expected = backward(flow)
    compile_networks(flow)
    found = backward(flow)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-4, msg=lambda text, name=name: name + text)


def test_in_bfloat16_the_loss_moves_by_its_rounding() -> None:
    flow = small_flow()
    with network_precision(torch.bfloat16):
        expected = flow.log_prob(X, GeneratorNoise(1))
        backend = CompileCounterWithBackend("aot_eager")
        compile_networks(flow, backend)
        found = flow.log_prob(X, GeneratorNoise(1))
    assert backend.frame_count == 1
    assert {
        node.meta["example_value"].dtype
        for node in backend.graphs[0].graph.nodes
        if node.op == "call_function" and node.target is torch.conv2d
    } == {torch.bfloat16}
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


def test_networks_of_one_shape_are_compiled_once_however_many_there_are() -> None:
    counts = []
    for steps in (1, 12):  # more than torch's own limit of 8
        torch._dynamo.reset()
        backend = CompileCounterWithBackend("eager")
        flow = small_flow(steps)
        compile_networks(flow, backend)
        backward(flow)
        counts.append(backend.frame_count)
    assert counts == [1, 1]


def test_more_shapes_than_torchs_limit_are_all_compiled() -> None:
    flow = small_flow(units=10)
    backend = CompileCounterWithBackend("eager")
    compile_networks(flow, backend)
    backward(flow)
    assert backend.frame_count == 10 + 9  # coupling networks and those of the augmentations


def test_names_copies_and_seldom_work_are_left_alone() -> None:
    flow = small_flow()
    names = list(flow.state_dict())
    backend = CompileCounterWithBackend("eager")
    compile_networks(flow, backend)
    assert list(flow.state_dict()) == names
    with uncompiled():
        backward(flow)
    backward(copy.deepcopy(flow))
    assert backend.frame_count == 0
    backward(flow)
    assert backend.frame_count == 1


def test_a_failing_compiler_is_one_sentence() -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no g++ here\nand more")

    flow = small_flow()
    compile_networks(flow, broken)
    with pytest.raises(UserError) as error, compiling("train baseline seed 0"):
        backward(flow)
    assert "\n" not in str(error.value)
    for part in ("train baseline seed 0", "no g++ here", "install", "training.compile to false"):
        assert part in str(error.value)


@pytest.fixture
def quick_compiler(monkeypatch: pytest.MonkeyPatch) -> CompileCounterWithBackend:
    backend = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr("hybridflow.training.loop.compile_networks", partial(compile_networks, backend=backend))
    return backend


@pytest.mark.slow
def test_a_compiled_training_ends_where_another_does(
    tmp_path: Path, quick_compiler: CompileCounterWithBackend, capfd: pytest.CaptureFixture[str]
) -> None:
    plain, compiled = job(tmp_path / "plain", "hybrid"), job(tmp_path / "compiled", "hybrid", compile=True)
    train(plain, IMAGES, CPU)
    assert quick_compiler.frame_count == 0
    assert "compiling" not in capfd.readouterr().err
    train(compiled, IMAGES, CPU)
    assert quick_compiler.frame_count > 0
    assert "train hybrid seed 0: compiling the networks; the first step takes minutes" in capfd.readouterr().err
    for row, other in zip(rows(plain.history), rows(compiled.history), strict=True):
        assert other["bpd"] == pytest.approx(row["bpd"], rel=1e-4)
    names = [
        {name: value.shape for name, value in read_tensors(work.checkpoint, "flow").items()}
        for work in (plain, compiled)
    ]
    assert names[0] == names[1]


@pytest.mark.slow
def test_a_stopped_compiled_training_continues_to_the_same_bytes(
    tmp_path: Path, quick_compiler: CompileCounterWithBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped = (job(tmp_path / name, compile=True) for name in ("whole", "stopped"))
    train(whole, IMAGES, CPU)

    def stop_at_fifth(state, *rest):
        if state.step == 4:
            signal.raise_signal(signal.SIGTERM)
        return training_step(state, *rest)

    with monkeypatch.context() as patch:
        patch.setattr("hybridflow.training.loop.training_step", stop_at_fifth)
        with pytest.raises(SystemExit):
            train(stopped, IMAGES, CPU)
    torch._dynamo.reset()
    train(stopped, IMAGES, CPU)
    expected, found = read_tensors(whole.checkpoint, "flow"), read_tensors(stopped.checkpoint, "flow")
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert rows(whole.history) == rows(stopped.history)
