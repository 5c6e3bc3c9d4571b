"""Nearest training images."""

import numpy as np

from hybridflow.evaluation.nearest import nearest


def test_the_nearest_of_a_training_image_is_itself() -> None:
    reference = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float16)
    assert nearest(reference[7:12], reference, 1)[:, 0].tolist() == [7, 8, 9, 10, 11]


def test_they_come_nearest_first_and_equally_near_ones_in_their_order() -> None:
    reference = np.array([[5.0], [1.0], [-1.0], [3.0]])
    assert nearest(np.array([[0.0], [4.5]]), reference, 3).tolist() == [[1, 2, 3], [0, 3, 1]]
