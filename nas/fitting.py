"""A candidate's training from end to end: dense, prune, fine-tune, quantization-aware; continued from a checkpoint."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compressors.folding import fold_batch_norm
from compressors.preparation import prepare
from compressors.pruning import IMPORTANCES, prune
from nas.candidate import Candidate
from nas.run_folder import write_atomically
from nas.study import Study
from nas.training import (
    Feed,
    Phase,
    PhaseName,
    calibrate,
    estimate_batch_norm,
    make_optimizer,
    phases,
    train_phase,
)

SECONDS_BETWEEN_CHECKPOINTS = 2.0


@dataclass(frozen=True)
class Fitting:
    """Everything one candidate's training depends on."""

    study: Study
    candidate: Candidate
    feed: Feed
    epochs: int
    checkpoint: Path

    def fit(self, network: nn.Module, give_way: Callable[[], None]) -> nn.Module:
        """Train `network` (untrained, dense) through all phases; returns it folded and quantized where asked for.

        An earlier attempt's checkpoint is continued at the epoch after it.
        """
        plan = self.candidate.plan
        todo = phases(self.study.training, self.epochs, prunes=bool(plan.kept), quantizes=bool(plan.formats))
        saved = load_checkpoint(self.checkpoint)
        for index, phase in enumerate(todo):
            if saved is not None and index < saved["phase"]:
                network = self.change(network, phase.name, restoring=True)
                continue
            resumes = saved is not None and index == saved["phase"]
            network = self.change(network, phase.name, restoring=resumes)
            optimizer = make_optimizer(network, self.study.training)
            start = _restore(saved, network, optimizer) if saved is not None and resumes else 0
            self._train(network, phase, index, start, optimizer, give_way)
        return network if plan.formats else fold_batch_norm(network)

    def change(self, network: nn.Module, phase: PhaseName, *, restoring: bool = False) -> nn.Module:
        """What is done to the network before a phase; when restoring only its shape matters, weights follow."""
        plan = self.candidate.plan
        if phase == "pruned":
            importance = IMPORTANCES[self.study.compression.importance]
            prune(network, self.candidate.architecture.all_groups(), plan.kept, importance=importance)
            if not restoring:
                estimate_batch_norm(network, self.feed)
        elif phase == "quantized":
            network = prepare(network, plan.formats, learned=self.study.compression.learned_step_sizes).to(
                self.feed.images.device
            )
            if not restoring:
                calibrate(network, self.feed)
        return network

    def _train(
        self,
        network: nn.Module,
        phase: Phase,
        index: int,
        start: int,
        optimizer: torch.optim.Optimizer,
        give_way: Callable[[], None],
    ) -> None:
        last_saved = time.monotonic()

        def after_epoch(done: int) -> None:
            nonlocal last_saved
            if time.monotonic() - last_saved >= SECONDS_BETWEEN_CHECKPOINTS:
                self._save(network, optimizer, index, done)
                last_saved = time.monotonic()

        train_phase(
            network,
            self.feed,
            self.study.training,
            phase,
            start_epoch=start,
            optimizer=optimizer,
            give_way=give_way,
            after_epoch=after_epoch,
        )

    def _save(self, network: nn.Module, optimizer: torch.optim.Optimizer, phase: int, epoch: int) -> None:
        state = {
            "phase": phase,
            "epoch": epoch,
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(self.checkpoint, buffer.getvalue())


def _restore(saved: dict[str, Any], network: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load weights and optimizer; returns the number of finished epochs of the phase."""
    network.load_state_dict(saved["network"])
    optimizer.load_state_dict(saved["optimizer"])
    return int(saved["epoch"])


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """A checkpoint's content, or None where there is none; tensors and plain values only, never code."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
