"""RandAugment's operations against slicing and closed forms, and their draws per image."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nas.training.randaugment import (
    MOVES,
    VALUES,
    autocontrast,
    brightness,
    contrast,
    move,
    move_matrices,
    posterize,
    rand_augment,
    saturation,
    solarize,
)

ONE = torch.tensor([[[[1.0]]]])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(count: int = 1, *, channels: int = 3, size: int = 8, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=seeded(seed))


def matrix_of(name: str, amount: float) -> Tensor:
    return move_matrices(torch.tensor([MOVES.index(name)]), torch.tensor([amount]))


def test_moves_against_slicing() -> None:
    image = pixels(size=20)
    shifted = move(image, matrix_of("translate_x", 1.0))  # 0.45 of 20 pixels: 9
    assert torch.equal(shifted[..., :11], image[..., 9:])
    assert not shifted[..., 11:].any()
    shifted = move(image, matrix_of("translate_y", -1.0))
    assert torch.equal(shifted[..., 9:, :], image[..., :11, :])
    assert not shifted[..., :9, :].any()
    assert torch.equal(move(image, matrix_of("identity", 1.0)), image)


def test_three_rotations_of_thirty_degrees_are_a_quarter_turn() -> None:
    image = pixels(size=9)
    turn = matrix_of("rotate", 1.0)
    found = move(image, turn @ turn @ turn)
    assert torch.equal(found, image.rot90(1, (2, 3))) or torch.equal(found, image.rot90(-1, (2, 3)))


def test_shear_moves_rows_by_their_height() -> None:
    image = pixels(size=21)
    found = move(image, matrix_of("shear_x", 1.0))
    for row in (0, 5, 10, 15, 20):
        by = math.floor(0.3 * (row - 10) + 0.501)
        kept = image[0, :, row, max(by, 0) : 21 + min(by, 0)]
        assert torch.equal(found[0, :, row, max(-by, 0) : 21 + min(-by, 0)], kept)


def test_values_in_closed_form() -> None:
    image = torch.tensor([[[[0, 50], [100, 200]]]], dtype=torch.uint8).expand(1, 3, 2, 2)
    assert brightness(image, ONE)[0, 0].tolist() == [[0, 95], [190, 255]]
    assert brightness(image, -ONE)[0, 0].tolist() == [[0, 5], [10, 20]]
    mean = 87.5 * 0.9
    assert contrast(image, -ONE)[0, 0].tolist() == [[round(mean + v * 0.1) for v in r] for r in ([0, 50], [100, 200])]
    assert torch.equal(saturation(image, ONE), image)  # grey already
    assert posterize(image, ONE)[0, 0].tolist() == [[0, 48], [96, 192]]
    assert torch.equal(posterize(image, 0 * ONE), image)
    assert solarize(image, 0.5 * ONE)[0, 0].tolist() == [[0, 50], [100, 55]]
    assert torch.equal(solarize(image, 0 * ONE), image)
    assert autocontrast(image, ONE)[0, 0].tolist() == [[0, 64], [128, 255]]
    flat = torch.full((1, 1, 2, 2), 7, dtype=torch.uint8)
    assert torch.equal(autocontrast(flat, ONE), flat)


def test_saturation_keeps_the_grey() -> None:
    image = torch.tensor([200, 100, 50], dtype=torch.uint8).view(1, 3, 1, 1)
    grey = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    expected = [round(grey + (v - grey) * 0.1) for v in (200, 100, 50)]
    assert saturation(image, -ONE).flatten().tolist() == expected


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_gets_operations_of_its_own(channels: int) -> None:
    image = pixels(1, channels=channels, size=8).expand(400, -1, -1, -1).clone()
    found = rand_augment(image, 1, 15.0, seeded(0))
    assert found.shape == image.shape
    assert found.dtype == torch.uint8
    kinds = {bytes(one.numpy().tobytes()) for one in found}
    # Signs double all but identity, posterize, solarize and autocontrast; grey images know no saturation.
    signed, single = len(MOVES) - 1 + (3 if channels == 3 else 2), 4
    assert len(kinds) == 2 * signed + single
    assert len(VALUES) + len(MOVES) == 12


def test_no_strength_changes_nothing_but_contrast_stretching() -> None:
    image = pixels(50)
    image[:, :, 0, 0], image[:, :, 0, 1] = 0, 255  # stretched already
    assert torch.equal(rand_augment(image, 3, 0.0, seeded(0)), image)
