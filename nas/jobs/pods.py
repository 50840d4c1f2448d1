"""The cluster of a RayJob: a head that drives and measures, nodes that train, nodes that only measure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.jobs.job import Job
from nas.jobs.kubernetes_options import STOCK_IMAGE, KubernetesOptions

Part = dict[str, Any]

STUDY_FOLDER = "/etc/compact-nas"
MEASURES = "compact-nas/measures"  # label of a measuring node, and the taint that it tolerates


def cluster_spec(name: str, job: Job, options: KubernetesOptions) -> Part:
    """A `rayClusterSpec`. `name` is the RayJob's."""
    return {
        "rayVersion": options.ray_version,
        "authOptions": {"mode": "token"},  # KubeRay makes the token and gives it to every pod
        "headGroupSpec": {
            "rayStartParams": {},
            "resources": {"CPU": "0"},  # nothing trains beside the driver and what it measures
            "template": {"spec": _head(name, job, options)},
        },
        "workerGroupSpecs": [
            _group("training", options.workers, {"spec": _trains(name, job, options)}),
            *(_measuring(number, device, options) for number, device in enumerate(job.devices)),
        ],
    }


def _group(name: str, replicas: int, template: Part, **more: Any) -> Part:
    return {
        "groupName": name,
        "replicas": replicas,
        "minReplicas": replicas,
        "maxReplicas": replicas,
        "rayStartParams": {},
        **more,
        "template": template,
    }


def _head(name: str, job: Job, options: KubernetesOptions) -> Part:
    container = _container("ray-head", options, options.head_cpus, options.head_memory)
    if options.secret:
        container["envFrom"] = [{"secretRef": {"name": options.secret}}]
    container["ports"] = [
        {"name": "gcs-server", "containerPort": 6379},
        {"name": "dashboard", "containerPort": 8265},
        {"name": "client", "containerPort": 10001},
    ]
    container["volumeMounts"] = [
        {"name": "study", "mountPath": STUDY_FOLDER},
        {"name": "runs", "mountPath": options.runs},
    ]
    volumes: list[Part] = [{"name": "study", "configMap": {"name": f"{name}-study"}}, _runs(name, options)]
    if options.data_volume:
        container["volumeMounts"].append({"name": "data", "mountPath": options.data, "readOnly": True})
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": options.data_volume, "readOnly": True}})
    chosen = {} if job.devices or not options.measuring_node else {"nodeSelector": dict(options.measuring_node)}
    # The group of the volume, so that the image's user may write to it.
    return {**_pod(container, options), "securityContext": {"fsGroup": 1000}, **chosen, "volumes": volumes}


def _trains(name: str, job: Job, options: KubernetesOptions) -> Part:
    container = _container("ray-worker", options, options.cpus, options.memory, gpus=options.gpus)
    if not job.shared:
        return _pod(container, options)
    container["volumeMounts"] = [{"name": "runs", "mountPath": options.runs}]
    return {**_pod(container, options), "securityContext": {"fsGroup": 1000}, "volumes": [_runs(name, options)]}


def _measuring(number: int, device: str, options: KubernetesOptions) -> Part:
    """One node that offers a target's resource and no CPU, on a machine with the label, whatever taint it has."""
    container = _container("ray-worker", options, options.measuring_cpus, options.measuring_memory)
    pod = {
        **_pod(container, options),
        "nodeSelector": dict(options.measuring_node) or {MEASURES: device},
        "tolerations": [{"key": MEASURES, "operator": "Exists"}],
    }
    return _group(
        f"measuring-{number}", 1, {"spec": pod}, resources={"CPU": "0", device: "1"}, labels={MEASURES: device}
    )


def _pod(container: Part, options: KubernetesOptions) -> Part:
    secret = {"imagePullSecrets": [{"name": options.image_pull_secret}]} if options.image_pull_secret else {}
    return {**secret, "containers": [container]}


def _container(name: str, options: KubernetesOptions, cpus: int, memory: str, *, gpus: int = 0) -> Part:
    """Requests equal limits, in whole cores: the kubelet may then give the pod cores of its own."""
    size: Mapping[str, str] = {"cpu": str(cpus), "memory": memory, **({"nvidia.com/gpu": str(gpus)} if gpus else {})}
    return {
        "name": name,
        "image": options.image or STOCK_IMAGE,
        "resources": {"requests": dict(size), "limits": dict(size)},
    }


def _runs(name: str, options: KubernetesOptions) -> Part:
    return {"name": "runs", "persistentVolumeClaim": {"claimName": options.volume or f"{name}-runs"}}
