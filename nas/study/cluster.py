"""The section `search.ray`: what a trial takes of a cluster, and how its files travel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from nas.study.addresses import head_address
from nas.study.section import AboveZero, Section

DECIMALS = 4  # that Ray keeps of an amount
RAYS_OWN = ("CPU", "GPU", "memory", "object_store_memory")


def _amount(given: float) -> float:
    if round(given, DECIMALS) != given:
        raise ValueError(f"expected at most {DECIMALS} decimals, got {given!r}")
    return given


Amount = Annotated[float, Field(gt=0), AfterValidator(_amount)]


def custom_resource(name: str) -> str:
    """The name of a custom resource. Raises ValueError where it is one that Ray counts itself."""
    if name in RAYS_OWN:
        raise ValueError(f"expected a custom resource, other than {', '.join(RAYS_OWN)}, got {name!r}")
    return name


def _custom(resources: Mapping[str, float]) -> Mapping[str, float]:
    return {custom_resource(name): amount for name, amount in resources.items()}


class RayOptions(Section):
    """What a trial takes of a Ray cluster; read with engine ray only."""

    address: Annotated[str, AfterValidator(head_address)] | None = Field(
        None,
        description="The cluster that trials run on: auto for the one that this machine belongs to, or HOST:PORT of "
        "its head. By default a Ray of its own on this machine, ended with the run.",
    )
    cpus: Amount = Field(
        1.0,
        description="Cores of a trial, and threads that it trains on; with images below 32 pixels it trains on one.",
    )
    gpus: Annotated[float, Field(ge=0), AfterValidator(_amount)] = Field(
        0.0, description="GPUs of a trial; below 1 several trials share one."
    )
    resources: Annotated[Mapping[str, Amount], AfterValidator(_custom)] = Field(
        {}, description="Further resources of a trial, by the names that nodes offer them under: {a100: 0.5}."
    )
    runtime_env: Mapping[str, Any] = Field(
        {},
        description="The runtime environment of trials, as Ray describes it: working_dir, pip, env_vars, ... It is "
        "written into the run folder, so that no secret belongs here.",
    )
    shared: bool = Field(
        False,
        description="Whether every node sees the run folder at the same path. Then checkpoints and files are written "
        "there; otherwise they travel through Ray's object store.",
    )
    checkpoint_seconds: AboveZero = Field(
        30.0,
        description="Seconds between two checkpoints of a trial that are sent to the driver, at least, so that a trial "
        "whose node is lost goes on elsewhere.",
    )
