"""The smallest DenseFlow that has every part: two scales, an augmentation, attention, BatchNorm, dequantization."""

from hybridflow.config.generators import CouplingSettings, DenseFlowSettings, DequantizationSettings

TINY_FLOW = DenseFlowSettings(
    units=(2, 1),
    steps_per_unit=(1, 1),
    growth_rate=2,
    coupling=CouplingSettings(mid_channels=(4, 4), depth=2, growth=4),
    dequantization=DequantizationSettings(steps=1, mid_channels=4, context_channels=4, depth=1, growth=4),
)
