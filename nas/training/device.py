"""Where training runs. torch is imported only where a GPU is asked for or looked for: that takes seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.errors import InputError

if TYPE_CHECKING:
    import torch


def device_of(wanted: str) -> torch.device:
    """What `training.device` stands for here; auto takes a GPU where there is one.

    Raises InputError for a GPU that torch does not see.
    """
    import torch

    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    refuse_missing_device(wanted)
    return torch.device(wanted)


def refuse_missing_device(wanted: str) -> None:
    """Raise InputError where a GPU is asked for and torch sees none."""
    if wanted != "cuda":
        return
    import torch

    if not torch.cuda.is_available():
        why = "finds no GPU" if torch.version.cuda else "is built without CUDA"
        raise InputError(
            f"training.device: got cuda, but the installed torch {torch.__version__} {why}; expected auto or cpu here"
        )
