"""Options of `nas submit --to kubernetes`, and which of them fit together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from nas.jobs.options import AtLeastOne, Line, Lines, NotNegative, Options, Pairs

RAY_VERSION = "2.60.0"
STOCK_IMAGE = f"rayproject/ray:{RAY_VERSION}-py312"
NAME_LENGTH = 47  # KubeRay makes names of 63 characters out of it

DEVICE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,40}[A-Za-z0-9])?")  # as the value of a label
JobName = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=NAME_LENGTH)]
Label = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)]
Named = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?([kMGTP]i?)?$")]
AbsolutePath = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9_.-]+)+$")]
# KubeRay puts the runtime environment between double quotes of a shell.
Unexpanded = Annotated[Lines, BeforeValidator(lambda given: _without_expansion(given))]


def _without_expansion(given: object) -> object:
    if isinstance(given, str) and set(given) & set("$`"):
        raise ValueError(f"expected no $ and no `, which a shell on the way would expand, got {given!r}")
    return given


class KubernetesOptions(Options):
    """Options of `nas submit --to kubernetes`."""

    name: JobName | None = Field(
        None,
        description="Name of the RayJob: lower-case letters, digits and hyphens, at most 47 characters; by default "
        "made of the study's.",
    )
    namespace: Label | None = Field(None, description="Namespace; kubectl's own by default.")
    image: Line | None = Field(
        None, description=f"Container image with Python, Ray and compact-nas; {STOCK_IMAGE} with pip or working_dir."
    )
    image_pull_secret: Named | None = Field(None, description="Secret with the registry's password.")
    pip: Unexpanded = Field(
        (), description="Packages that Ray installs on every node, comma-separated, e.g. compact-nas."
    )
    working_dir: Annotated[Line, BeforeValidator(_without_expansion)] | None = Field(
        None, description="URL of a zip archive of this repository, which Ray unpacks on every node."
    )
    ray_version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")] = Field(
        RAY_VERSION, description="Ray's version in the image, as 2.60.0."
    )
    workers: AtLeastOne = Field(2, description="Nodes that train.")
    cpus: AtLeastOne = Field(4, description="Cores of a node that trains.")
    memory: Quantity = Field("8Gi", description="Memory of a node that trains, as 8Gi.")
    gpus: NotNegative = Field(0, description="NVIDIA GPUs of a node that trains.")
    head_cpus: AtLeastOne = Field(2, description="Cores of the head, where the driver runs and nothing trains.")
    head_memory: Quantity = Field("8Gi", description="Memory of the head, as 8Gi.")
    measuring_cpus: AtLeastOne = Field(2, description="Cores of a node that measures.")
    measuring_memory: Quantity = Field("4Gi", description="Memory of a node that measures, as 4Gi.")
    measuring_node: Pairs = Field(
        {},
        description="Labels of the machine that measures, NAME=VALUE,NAME=VALUE; by default "
        "compact-nas/measures=DEVICE for a target with a device, and any machine for the head.",
    )
    runs: AbsolutePath = Field(
        "/runs", description="Where the volume of the run folders is mounted; this study's is runs/<study name>."
    )
    volume: Named | None = Field(
        None, description="Persistent volume claim for the run folders that is there already; by default one is made."
    )
    storage: Quantity = Field("10Gi", description="Size of the claim that is made.")
    storage_class: Named | None = Field(None, description="Its storage class; the cluster's default one by default.")
    data_volume: Named | None = Field(None, description="Persistent volume claim with data, mounted for reading.")
    data: AbsolutePath = Field("/data", description="Where data_volume is mounted.")
    secret: Named | None = Field(
        None,
        description="Secret whose keys are environment variables of the driver: COMPACT_NAS_AGENT_TOKEN, PGPASSWORD.",
    )
    labels: Pairs = Field({}, description="Labels of the RayJob, as kueue.x-k8s.io/queue-name=team.")
    retries: NotNegative = Field(3, description="New clusters that go on with the study after a failure.")
    deadline_seconds: AtLeastOne | None = Field(None, description="The job is ended after so long; never by default.")
    keep_seconds: NotNegative = Field(600, description="How long the cluster stays after the end.")
    submission_mode: Literal["K8sJobMode", "HTTPMode", "SidecarMode"] = Field(
        "K8sJobMode", description="How KubeRay submits to Ray; HTTPMode with cluster."
    )
    cluster: Label | None = Field(
        None, description="Name of a RayCluster that is there already, with compact-nas on it, to run on."
    )


ON_A_GIVEN_CLUSTER = ("name", "namespace", "labels", "runs", "pip", "working_dir", "deadline_seconds", "cluster")


def conflicts(options: KubernetesOptions, devices: tuple[str, ...]) -> Iterator[str]:
    """What does not fit together, each sentence beginning with the option at fault."""
    if options.cluster is not None:
        yield from _conflicts_with_cluster(options)
        return
    if options.image is None and not options.pip and options.working_dir is None:
        yield "--set image: expected an image with compact-nas, or pip or working_dir that bring it, got none of them"
    for device in devices:
        if not DEVICE.fullmatch(device):
            yield f"targets.device: expected letters, digits and _.- with --to kubernetes, got {device!r}"
    if options.measuring_node and len(devices) > 1:
        came = ", ".join(devices)
        yield f"--set measuring_node: expected targets of one device at most, whose machine it is, got {came}"
    if options.volume is not None:
        for name in sorted({"storage", "storage_class"} & options.model_fields_set):
            yield f"--set {name}: expected only where the claim is made, got volume {options.volume} too"


def _conflicts_with_cluster(options: KubernetesOptions) -> Iterator[str]:
    """A cluster that is there already is neither shaped, nor retried on a new one, nor shut down at the end."""
    for name in type(options).model_fields:
        if name not in (*ON_A_GIVEN_CLUSTER, "submission_mode") and name in options.model_fields_set:
            allowed = ", ".join(ON_A_GIVEN_CLUSTER)
            yield f"--set {name}: expected none with cluster, which takes {allowed}, got {getattr(options, name)!r}"
    if "submission_mode" in options.model_fields_set and options.submission_mode != "HTTPMode":
        yield (
            "--set submission_mode: expected HTTPMode with cluster (the study travels in the entrypoint, which other "
            f"modes send through a shell), got {options.submission_mode}"
        )
