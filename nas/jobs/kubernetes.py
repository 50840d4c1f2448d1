"""A KubeRay RayJob: a Ray cluster that is made for the study, and removed after it, or one that is there already.

The driver runs on the head, where nothing trains, and writes the run folder to a persistent volume: each retry is a new
cluster that goes on with it. KubeRay 1.6 or newer; https://ray-project.github.io/kuberay/reference/api/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nas.jobs.handing import hand_to
from nas.jobs.job import Backend, Job, on_ray
from nas.jobs.kubernetes_options import NAME_LENGTH, KubernetesOptions, conflicts
from nas.jobs.manifests import dump_manifests
from nas.jobs.pods import STUDY_FOLDER, cluster_spec
from nas.jobs.shell import NAS, path_word, run_folder, run_with_study, words
from nas.study import Study

Manifest = dict[str, Any]


def job_name(job: Job, options: KubernetesOptions) -> str:
    """The option, or the study's name as Kubernetes takes it: `CIFAR_10.v2` is cifar-10-v2."""
    if options.name is not None:
        return options.name
    plain = re.sub(r"[^a-z0-9]+", "-", job.name.lower()).strip("-")
    return (plain if plain[:1].isalpha() else f"study-{plain}".strip("-"))[:NAME_LENGTH].rstrip("-")


def manifest_text(job: Job, options: KubernetesOptions) -> str:
    """The RayJob, with what it needs in front of it, as `kubectl apply -f` takes it."""
    return dump_manifests(list(manifests(job, options)))


def manifests(job: Job, options: KubernetesOptions) -> Iterator[Manifest]:
    """The objects, in the order in which they are to be made."""
    name = job_name(job, options)
    if options.cluster is None:
        yield _study_map(job, options)
        if options.volume is None:
            yield _claim(name, job, options)
    spec = _on_given_cluster(job, options) if options.cluster else _on_own_cluster(name, job, options)
    labels = {"labels": dict(options.labels)} if options.labels else {}
    yield {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {**_metadata(name, options), **labels},
        "spec": spec,
    }


def _metadata(name: str, options: KubernetesOptions) -> Manifest:
    return {"name": name, **({"namespace": options.namespace} if options.namespace else {})}


def _study_map(job: Job, options: KubernetesOptions) -> Manifest:
    """The study's file and the script that runs it.

    A script, because KubeRay's submitter reads the entrypoint in a shell, Ray's command line quotes what is left anew,
    and the head reads it in a shell again: no quoting survives that.
    """
    script = f"""\
set -e
mkdir -p -- {path_word(options.runs)}
exec {NAS} run {STUDY_FOLDER}/study.yaml {words(job.overrides)} --out {path_word(run_folder(job, options.runs))}
"""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(f"{job_name(job, options)}-study", options),
        "data": {"study.yaml": job.text, "run.sh": script},
    }


def _claim(name: str, job: Job, options: KubernetesOptions) -> Manifest:
    """The volume of the run folder, which outlives the RayJob."""
    by_class = {"storageClassName": options.storage_class} if options.storage_class else {}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(f"{name}-runs", options),
        "spec": {
            "accessModes": ["ReadWriteMany" if job.shared else "ReadWriteOnce"],
            **by_class,
            "resources": {"requests": {"storage": options.storage}},
        },
    }


def _on_own_cluster(name: str, job: Job, options: KubernetesOptions) -> Manifest:
    return {
        "entrypoint": f"bash {STUDY_FOLDER}/run.sh",
        **_runtime_env(options),
        "submissionMode": options.submission_mode,
        "backoffLimit": options.retries,
        **_deadline(options),
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": options.keep_seconds,
        "rayClusterSpec": cluster_spec(name, job, options),
    }


def _on_given_cluster(job: Job, options: KubernetesOptions) -> Manifest:
    """No retry, which would be a new cluster; no end of it; and HTTPMode, which takes the entrypoint as it is."""
    return {
        "entrypoint": "set -e\n" + run_with_study(job, options.runs),
        **_runtime_env(options),
        "submissionMode": "HTTPMode",
        "backoffLimit": 0,
        **_deadline(options),
        "clusterSelector": {"ray.io/cluster": str(options.cluster)},
    }


def _deadline(options: KubernetesOptions) -> Manifest:
    return {} if options.deadline_seconds is None else {"activeDeadlineSeconds": options.deadline_seconds}


def _runtime_env(options: KubernetesOptions) -> Manifest:
    """What Ray brings to each node, as YAML within the YAML."""
    env: Mapping[str, Any] = {
        **({"working_dir": options.working_dir} if options.working_dir else {}),
        **({"pip": list(options.pip)} if options.pip else {}),
        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "120"},
    }
    return {"runtimeEnvYAML": dump_manifests([env]).removeprefix("---\n")}


def _settings(study: Study, options: KubernetesOptions) -> Sequence[str]:
    return [*on_ray(study), "search.ray.address=auto"]


def _refused(job: Job, options: KubernetesOptions) -> Iterator[str]:
    if job.engine != "ray":
        yield f"search.engine: expected ray with --to kubernetes, got {job.engine}"
    yield from conflicts(options, job.devices)


def _submit(job: Job, options: KubernetesOptions) -> str:
    name = job_name(job, options)
    where = ["--namespace", options.namespace] if options.namespace else []
    said = hand_to(["kubectl", "apply", "-f", "-"], manifest_text(job, options))
    if f"rayjob.ray.io/{name} created" not in said:  # KubeRay heeds no change of a job that runs or has ended
        again = words(["kubectl", "delete", "rayjob", name, *where])
        return f"{said}\nThe job was there already. To go on with its run folder:  {again}  and submit it again."
    return f"{said}\nFollow it with:  {words(['kubectl', 'get', 'rayjob', name, *where, '--watch'])}"


KUBERNETES = Backend(KubernetesOptions, _settings, _refused, manifest_text, _submit)
