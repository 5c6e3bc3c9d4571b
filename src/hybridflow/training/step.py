"""One step of a training, as functions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from hybridflow.config.adversarial import AdversarialSettings
from hybridflow.config.experiment import Variant
from hybridflow.models.discriminators.augmentation import augment_differentiably, augmentation_draws
from hybridflow.models.discriminators.inputs import discriminator_input, inward_gradient, straight_through_levels
from hybridflow.models.discriminators.spectral_norm import fixed_spectra
from hybridflow.models.generators.base import Generator, LikelihoodModel, bits_per_dim
from hybridflow.models.layers.batchnorm import running_statistics
from hybridflow.models.layers.precision import network_precision, run_network
from hybridflow.runtime.distributed import SINGLE_PROCESS, ProcessGroup
from hybridflow.runtime.noise import GeneratorNoise, Noise
from hybridflow.runtime.seeding import derive_seed
from hybridflow.training.batches import FLIPPED, Batches
from hybridflow.training.gradient_balance import add_balanced, take_gradients
from hybridflow.training.gradient_normalisation import GradientNormalisation
from hybridflow.training.losses.penalties import Critic, penalties
from hybridflow.training.losses.registry import build_loss
from hybridflow.training.optim import Schedule
from hybridflow.training.state import State


def training_step(
    state: State, batches: Batches, variant: Variant, learning_rate: float, seed: int
) -> dict[str, Tensor]:
    """One update of the generator and, in a hybrid, of the discriminator.

    In the discriminator's warm-up (``adversarial.warmup_steps``; CAFM, arXiv 2604.11521) the generator waits, also its
    likelihood: a discriminator that has learned nothing gives no direction, and a generator that moves is no target.

    A process group computes one update together, each process from its rows of the batches (``batches.group``).

    Returns:
        Metrics of the step, each a detached tensor (); nothing is copied to the host.
    """
    adversarial, step, group = variant.adversarial, state.step, batches.group
    generator, discriminator = state.generator, state.discriminator
    schedule = Schedule.of(variant, len(batches.images))
    only_flipped = FLIPPED if adversarial.real_images == "flipped" else None
    metrics: dict[str, Tensor] = {}
    fake: Tensor | None = None

    def noise(purpose: str) -> Noise:
        return group.noise(GeneratorNoise(derive_seed(seed, purpose, step), batches.images.device))

    # Images: for the likelihood, and what is real for the discriminator
    x = batches.training(step)
    real = batches.training(step, 0, only_flipped) if only_flipped and discriminator else x
    generator.train()

    # Update the generator
    if step >= schedule.discriminator_warmup:
        metrics, fake = generator_step(state, x, real, variant, learning_rate, noise, group)
        if state.ema is not None:
            state.ema.update(step - schedule.discriminator_warmup)

    # Update the discriminator, first with the images above, then with others
    if discriminator is not None:
        optimizer = adversarial.discriminator_optimizer
        _set_learning_rate(state.discriminator_optimizer, optimizer.lr * schedule.annealed(optimizer.anneal, step))
    for update in range(adversarial.discriminator_steps if discriminator is not None else 0):
        if update > 0:
            real = batches.training(step, update, only_flipped)
        if update > 0 or fake is None:
            with torch.no_grad(), sampling_statistics(generator):
                latents = generator.draw_latents(len(real), noise(f"latents {update}"))
                fake = straight_through_levels(generator.decode_mean(latents))
        metrics |= discriminator_step(
            discriminator,
            state.discriminator_optimizer,
            real,
            fake,
            adversarial,
            noise=noise(f"discriminator {update}"),
            penalty_factor=schedule.annealed(adversarial.penalties.anneal, step),
            group=group,
        )
    return group.average_metrics(metrics, largest="sample_magnitude")


def generator_step(
    state: State,
    x: Tensor,
    real: Tensor,
    variant: Variant,
    learning_rate: float,
    noise: Callable[[str], Noise],
    group: ProcessGroup,
) -> tuple[dict[str, Tensor], Tensor | None]:
    """One update of the generator.

    loss = (1 - w) * bits/dim + w * adversarial loss, with w the variant's adversarial weight. With
    ``adversarial.adaptive_weight`` the adversarial gradient is scaled, too
    (:mod:`hybridflow.training.gradient_balance`).

    Args:
        x: (N, C, H, W), levels 0..255 for the likelihood.
        real: (N, C, H, W), levels 0..255 that the discriminator takes for real.
        noise: draws by purpose.

    Returns:
        Metrics, each a detached tensor (), and the generated levels (N, C, H, W) in a hybrid.
    """
    settings, adversarial, weight = variant.training, variant.adversarial, variant.adversarial_weight
    generator, discriminator = state.generator, state.discriminator
    balanced = adversarial.adaptive_weight and discriminator is not None
    metrics: dict[str, Tensor] = {}
    fake: Tensor | None = None
    state.generator_optimizer.zero_grad(set_to_none=True)

    # The adversarial gradient, from samples
    if discriminator is not None:
        metrics["adversarial_loss"], fake, metrics["sample_magnitude"] = adversarial_backward(
            generator,
            discriminator,
            adversarial,
            generator.draw_latents(len(x), noise("latents")),
            real,
            1.0 if balanced else weight,
            noise=noise("augmentation"),
            normalisation=state.gradient_normalisation,
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

    # Clip it and update the weights
    metrics["gradient_norm"] = nn.utils.get_total_norm([p.grad for p in generator.parameters() if p.grad is not None])
    if settings.gradient_clip is not None:
        nn.utils.clip_grads_with_norm_(generator.parameters(), settings.gradient_clip, metrics["gradient_norm"])
    _set_learning_rate(state.generator_optimizer, learning_rate)
    state.generator_optimizer.step()
    return metrics, fake


def adversarial_backward(
    generator: Generator,
    discriminator: nn.Module,
    settings: AdversarialSettings,
    latents: list[Tensor],
    real: Tensor | None,
    weight: float,
    *,
    noise: Noise | None = None,
    normalisation: GradientNormalisation | None = None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> tuple[Tensor, Tensor, Tensor]:
    """Adds the gradient of ``weight`` times the generator's adversarial loss to the generator's gradients.

    The sample is quantised by a straight-through estimator.

    Args:
        latents: standard-normal draws, one for each of ``generator.latent_shapes``.
        real: (N, C, H, W), levels 0..255 of real images, for losses that compare with them.
        noise: draws for ``settings.diff_augment``.
        normalisation: of the gradient that the discriminator sends to the images, before ``weight``; or None.

    Returns:
        The loss (), the generated levels (N, C, H, W), and the largest |y - 1/2| of the continuous images y (),
        which is about 1/2 for images and grows without bound when a flow blows up; all detached.
    """
    discriminator.requires_grad_(False)
    loss = build_loss(settings)
    with sampling_statistics(generator):
        y = generator.decode_mean(latents)
    levels = straight_through_levels(inward_gradient(y) if settings.inward_gradient else y)
    images = _input(discriminator, levels)
    with fixed_spectra(discriminator, iterate=False):
        real_logits = None
        if loss.needs_real_logits:
            with torch.no_grad():
                real_logits = _critic(discriminator, settings, len(real), noise)(_input(discriminator, real))
        value = loss.generator(_critic(discriminator, settings, len(images), noise)(images), real_logits)
        if normalisation is None:
            (weight * value).backward()
        else:
            (gradient,) = torch.autograd.grad(value, images)
            images.backward(weight * normalisation(gradient, group))
    discriminator.requires_grad_(True)
    if settings.gradient_clip is not None and not settings.adaptive_weight:  # which clips after its scale
        group.average_gradients(generator)
        nn.utils.clip_grad_norm_(generator.parameters(), settings.gradient_clip)
    return value.detach(), levels.detach(), (y.detach() - 0.5).abs().amax()


def sampling_statistics(generator: Generator) -> AbstractContextManager[None]:
    """BatchNorm's statistics while a training draws samples.

    Those of a likelihood model are the running ones, as for the final samples; a generator without a likelihood takes
    those of the batch, since no other pass would ever update the running ones.
    """
    return running_statistics(generator) if isinstance(generator, LikelihoodModel) else nullcontext()


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
    settings: AdversarialSettings,
    *,
    noise: Noise | None = None,
    penalty_factor: float = 1.0,
    group: ProcessGroup = SINGLE_PROCESS,
) -> dict[str, Tensor]:
    """One update of the discriminator.

    Args:
        real, fake: (N, C, H, W), levels 0..255, without gradient.
        noise: draws for ``settings.diff_augment`` and for penalties that need them, in this order.
        penalty_factor: on every penalty.

    Returns:
        discriminator_loss, without the penalties; the loss's scores; and the penalties if there are any, each ().
    """
    optimizer.zero_grad(set_to_none=True)
    loss, penalty = build_loss(settings), settings.penalties
    exact = not penalty.finite_differences  # whose differences bfloat16 does not resolve
    with fixed_spectra(discriminator, iterate=True), nullcontext() if exact else network_precision(None):
        # The logits of both batches, and the loss; penalties differentiate the images before their augmentation
        images = [_input(discriminator, levels) for levels in (real, fake)]
        critics = [_critic(discriminator, settings, len(batch), noise) for batch in images]
        for batch, gamma in zip(images, (penalty.r1, penalty.r2), strict=True):
            batch.requires_grad_(exact and gamma is not None)
        logits = [critic(batch) for critic, batch in zip(critics, images, strict=True)]
        value = loss.discriminator(*logits)

        # The penalties, then the gradient of the sum
        terms = penalties(penalty, penalty_factor, critics, images, logits, noise)
        sum(terms.values(), start=value).backward()
    group.average_gradients(discriminator)
    optimizer.step()
    metrics = {"discriminator_loss": value} | loss.scores(*(values.detach() for values in logits)) | terms
    return {name: metric.detach() for name, metric in metrics.items()}


def _critic(discriminator: nn.Module, settings: AdversarialSettings, count: int, noise: Noise | None) -> Critic:
    """The discriminator behind one draw of the augmentation, for a batch of ``count`` images.

    Logits are in the precision of the weights: the loss is computed in it whatever the networks use.
    """
    if not settings.diff_augment:
        return lambda images: run_network(discriminator, images)
    draws = augmentation_draws(count, noise)
    return lambda images: run_network(discriminator, augment_differentiably(images, settings.diff_augment, draws))


def _input(discriminator: nn.Module, levels: Tensor) -> Tensor:
    """Levels 0..255 as the discriminator sees them, in the precision of its weights."""
    return discriminator_input(levels.to(next(discriminator.parameters()).dtype))


def _set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    for parameters in optimizer.param_groups:
        parameters["lr"] = value
