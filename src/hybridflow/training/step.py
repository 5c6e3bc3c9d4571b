"""One step of a training, as functions."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from hybridflow.config.experiment import Variant
from hybridflow.models.discriminators.inputs import discriminator_input, inward_gradient, straight_through_levels
from hybridflow.models.discriminators.spectral_norm import fixed_spectra
from hybridflow.models.generators.base import Generator, LikelihoodModel, bits_per_dim
from hybridflow.models.layers.batchnorm import running_statistics
from hybridflow.models.layers.precision import run_network
from hybridflow.runtime.distributed import SINGLE_PROCESS, ProcessGroup
from hybridflow.runtime.noise import GeneratorNoise, Noise
from hybridflow.runtime.seeding import derive_seed
from hybridflow.training.batches import Batches
from hybridflow.training.gradient_balance import add_balanced, take_gradients
from hybridflow.training.losses.base import AdversarialLoss
from hybridflow.training.losses.penalties import r1_penalty
from hybridflow.training.losses.registry import build_loss
from hybridflow.training.state import State


def adversarial_backward(
    generator: Generator,
    discriminator: nn.Module,
    loss: AdversarialLoss,
    latents: list[Tensor],
    real: Tensor,
    weight: float,
    clip: float | None,
    *,
    inward: bool = False,
    group: ProcessGroup = SINGLE_PROCESS,
) -> tuple[Tensor, Tensor, Tensor]:
    """Adds the gradient of ``weight`` times the generator's adversarial loss to the generator's gradients.

    The sample is quantised by a straight-through estimator. A likelihood model draws it with BatchNorm's running
    statistics, as the final samples are; a generator without a likelihood with those of the batch, since no other pass
    would ever update them.

    Args:
        latents: standard-normal draws, one for each of ``generator.latent_shapes``.
        real: (N, C, H, W), levels 0..255 of real images, for losses that compare with them.
        clip: largest norm of this gradient alone, or None.
        inward: drop the gradient that pushes pixels out of the range of images.

    Returns:
        The loss (), the generated levels (N, C, H, W), and the largest |y - 1/2| of the continuous images y (),
        which is about 1/2 for images and grows without bound when a flow blows up; all detached.
    """
    discriminator.requires_grad_(False)
    with running_statistics(generator) if isinstance(generator, LikelihoodModel) else nullcontext():
        y = generator.decode(latents)
    levels = straight_through_levels(inward_gradient(y) if inward else y)
    with fixed_spectra(discriminator, iterate=False):
        real_logits = None
        if loss.needs_real_logits:
            with torch.no_grad():
                real_logits = _logits(discriminator, real)
        value = loss.generator(_logits(discriminator, levels), real_logits)
        (weight * value).backward()
    discriminator.requires_grad_(True)
    if clip is not None:
        group.average_gradients(generator)
        nn.utils.clip_grad_norm_(generator.parameters(), clip)
    return value.detach(), levels.detach(), (y.detach() - 0.5).abs().amax()


def likelihood_backward(model: LikelihoodModel, x: Tensor, noise: Noise, weight: float) -> Tensor:
    """Adds the gradient of ``weight`` times the batch's bits/dim; at weight 0 they are only measured.

    Args:
        x: (N, C, H, W), integers 0..255.

    Returns:
        Bits/dim, (), detached.
    """
    with nullcontext() if weight > 0 else torch.no_grad():
        bpd = bits_per_dim(model.log_prob(x, noise), model.dimensions).mean()
    if weight > 0:
        (weight * bpd).backward()
    return bpd.detach()


def discriminator_step(
    discriminator: nn.Module,
    optimizer: torch.optim.Optimizer,
    real: Tensor,
    fake: Tensor,
    loss: AdversarialLoss,
    *,
    r1: float | None = None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> dict[str, Tensor]:
    """One update of the discriminator.

    Args:
        real, fake: (N, C, H, W), levels 0..255, without gradient.
        r1: gamma of the R1 penalty on the real images, or None.

    Returns:
        discriminator_loss, the mean probabilities of "real" given to both batches, and the penalty if there
        is one, each (). The loss is without the penalty.
    """
    optimizer.zero_grad(set_to_none=True)
    metrics: dict[str, Tensor] = {}
    dtype = next(discriminator.parameters()).dtype
    with fixed_spectra(discriminator, iterate=True):
        real_input = discriminator_input(real.to(dtype)).requires_grad_(r1 is not None)
        real_logits, fake_logits = run_network(discriminator, real_input), _logits(discriminator, fake)
        value = loss.discriminator(real_logits, fake_logits)
        total = value
        if r1 is not None:
            penalty = r1_penalty(real_logits, real_input, r1)
            metrics["gradient_penalty"] = penalty.detach()
            total = value + penalty
        total.backward()
    group.average_gradients(discriminator)
    optimizer.step()
    return metrics | {
        "discriminator_loss": value.detach(),
        "discriminator_real": torch.sigmoid(real_logits.detach()).mean(),
        "discriminator_fake": torch.sigmoid(fake_logits.detach()).mean(),
    }


def training_step(
    state: State, batches: Batches, variant: Variant, learning_rate: float, seed: int
) -> dict[str, Tensor]:
    """One update of the generator and, in a hybrid, of the discriminator.

    loss = (1 - w) * bits/dim + w * adversarial loss, with w the variant's adversarial weight. With
    ``adversarial.adaptive_weight`` the adversarial gradient is scaled too (:mod:`hybridflow.training.gradient_balance`).

    A process group computes one update together, each process from its rows of the batches (``batches.group``).

    Returns:
        Metrics of the step, each a detached tensor (); nothing is copied to the host.
    """
    settings, adversarial, weight = variant.training, variant.adversarial, variant.adversarial_weight
    step, group, loss = state.step, batches.group, build_loss(adversarial)
    generator, discriminator = state.generator, state.discriminator
    balanced = adversarial.adaptive_weight and discriminator is not None
    metrics: dict[str, Tensor] = {}

    def noise(purpose: str) -> Noise:
        return group.noise(GeneratorNoise(derive_seed(seed, purpose, step), x.device))

    x = batches.training(step)
    generator.train()
    state.generator_optimizer.zero_grad(set_to_none=True)

    # The adversarial gradient, from samples
    if discriminator is not None:
        latents = generator.draw_latents(len(x), noise("latents"))
        metrics["adversarial_loss"], fake, metrics["sample_magnitude"] = adversarial_backward(
            generator,
            discriminator,
            loss,
            latents,
            x,
            1.0 if balanced else weight,
            None if balanced else adversarial.gradient_clip,
            inward=adversarial.inward_gradient,
            group=group,
        )
    if balanced:
        group.average_gradients(generator)  # the balance needs the norm of the whole batch's gradient
        taken = take_gradients(generator)

    # The likelihood's gradient, from data; then their sum
    if isinstance(generator, LikelihoodModel):
        metrics["bpd"] = likelihood_backward(generator, x, noise("noise"), 1 - weight)
    group.average_gradients(generator)
    if balanced:
        metrics["adversarial_scale"] = add_balanced(generator, taken, weight, adversarial.gradient_clip)
    metrics["loss"] = (1 - weight) * metrics.get("bpd", 0.0) + weight * metrics.get("adversarial_loss", 0.0)

    # Update the generator
    metrics["gradient_norm"] = nn.utils.get_total_norm([p.grad for p in generator.parameters() if p.grad is not None])
    if settings.gradient_clip is not None:
        nn.utils.clip_grads_with_norm_(generator.parameters(), settings.gradient_clip, metrics["gradient_norm"])
    for parameters in state.generator_optimizer.param_groups:
        parameters["lr"] = learning_rate
    state.generator_optimizer.step()
    if state.ema is not None:
        state.ema.update(generator, step)

    # Update the discriminator, first with the images above, then with others
    for update in range(adversarial.discriminator_steps if discriminator is not None else 0):
        if update > 0:
            x = batches.training(step, update)
            with torch.no_grad(), running_statistics(generator):
                latents = generator.draw_latents(len(x), noise(f"latents {update}"))
                fake = straight_through_levels(generator.decode(latents))
        metrics |= discriminator_step(
            discriminator,
            state.discriminator_optimizer,
            x,
            fake,
            loss,
            r1=adversarial.penalties.r1,
            group=group,
        )
    return group.average_metrics(metrics, largest="sample_magnitude")


def _logits(discriminator: nn.Module, levels: Tensor) -> Tensor:
    """Logits in the precision of the weights: the loss is computed in it whatever the networks use."""
    dtype = next(discriminator.parameters()).dtype
    return run_network(discriminator, discriminator_input(levels.to(dtype)))
