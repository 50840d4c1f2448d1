"""RayJobs: recorded texts, KubeRay's schema, what does not fit together, and what becomes of the entrypoint."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jobs import JOB, LOCAL, WITH_DEVICE
from recorded import is_recorded

from nas.jobs.job import Job
from nas.jobs.kubernetes import KUBERNETES, job_name, manifest_text, manifests
from nas.jobs.kubernetes_options import KubernetesOptions
from nas.jobs.options import read_options

RECORDED = Path(__file__).parent / "recorded"
SCHEMA = json.loads((RECORDED / "rayjob.schema.json").read_text())
IMAGE = "image=registry.example/compact-nas:1"


def options(*given: str) -> KubernetesOptions:
    return read_options(KubernetesOptions, given)


def objects(job: Job, *given: str) -> dict[str, Any]:
    """What Kubernetes would read, by kind; each as the schema has it."""
    read = list(yaml.safe_load_all(manifest_text(job, options(*given))))
    for one in read:
        jsonschema.validate(one, SCHEMA)
    return {one["kind"]: one for one in read}


def refused(job: Job, *given: str) -> list[str]:
    return list(KUBERNETES.refused(job, options(*given)))


@pytest.mark.parametrize(
    ("job", "given", "file"),
    [
        (WITH_DEVICE, [IMAGE, "secret=tokens", "data_volume=pictures", "gpus=1", "deadline_seconds=3600"], "own"),
        (
            JOB,
            ["cluster=team", "pip=compact-nas>=0.1,psycopg[binary]", "labels=kueue.x-k8s.io/queue-name=team"],
            "given",
        ),
    ],
)
def test_the_text_is_the_recorded_one(job: Job, given: Sequence[str], file: str) -> None:
    assert not refused(job, *given)
    assert is_recorded(manifest_text(job, options(*given)), RECORDED / f"kubernetes-{file}-cluster.yml")
    objects(job, *given)


def test_the_schema_refuses_what_kuberay_does() -> None:
    spec = {
        "entrypoint": "x",
        "clusterSelector": {"ray.io/cluster": "a"},
        "submissionMode": "HTTPMode",
        "backoffLimit": 0,
    }
    job: dict[str, Any] = {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": "a"}, "spec": spec}
    jsonschema.validate(job, SCHEMA)
    for wrong in ({"backoffLimit": 1}, {"submissionMode": "SidecarMode"}, {"ttlSecondsAfterFinished": 1}, {"x": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**job, "spec": {**spec, **wrong}}, SCHEMA)


def test_nothing_trains_on_the_head_and_the_run_folder_outlives_the_job() -> None:
    found = objects(JOB, IMAGE)
    spec = found["RayJob"]["spec"]
    head = spec["rayClusterSpec"]["headGroupSpec"]
    assert head["resources"] == {"CPU": "0"}
    assert {"name": "runs", "persistentVolumeClaim": {"claimName": "digits-runs"}} in head["template"]["spec"][
        "volumes"
    ]
    assert found["PersistentVolumeClaim"]["metadata"]["name"] == "digits-runs"
    assert found["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert (spec["backoffLimit"], spec["shutdownAfterJobFinishes"]) == (3, True)
    assert spec["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    assert [group["groupName"] for group in spec["rayClusterSpec"]["workerGroupSpecs"]] == ["training"]


def test_a_claim_that_is_there_is_used_and_none_is_made() -> None:
    found = objects(JOB, IMAGE, "volume=mine")
    assert "PersistentVolumeClaim" not in found
    volumes = found["RayJob"]["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["volumes"]
    assert {"name": "runs", "persistentVolumeClaim": {"claimName": "mine"}} in volumes


def test_a_device_is_a_node_of_its_own_on_the_machine_with_the_label() -> None:
    groups = objects(WITH_DEVICE, IMAGE)["RayJob"]["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    device = groups[1]
    assert device["resources"] == {"CPU": "0", "pi5": "1"}
    assert device["replicas"] == device["minReplicas"] == device["maxReplicas"] == 1
    pod = device["template"]["spec"]
    assert pod["nodeSelector"] == {"compact-nas/measures": "pi5"}
    assert pod["tolerations"] == [{"key": "compact-nas/measures", "operator": "Exists"}]
    size = pod["containers"][0]["resources"]
    assert size["requests"] == size["limits"]  # of whole cores: the kubelet can pin them
    chosen = objects(WITH_DEVICE, IMAGE, "measuring_node=kubernetes.io/arch=arm64,board=pi5")
    pod = chosen["RayJob"]["spec"]["rayClusterSpec"]["workerGroupSpecs"][1]["template"]["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "arm64", "board": "pi5"}


def test_without_a_device_it_is_the_head_that_is_pinned() -> None:
    spec = objects(JOB, IMAGE, "measuring_node=quiet=yes")["RayJob"]["spec"]["rayClusterSpec"]
    assert spec["headGroupSpec"]["template"]["spec"]["nodeSelector"] == {"quiet": "yes"}
    assert "nodeSelector" not in spec["workerGroupSpecs"][0]["template"]["spec"]


def test_a_shared_run_folder_is_mounted_by_all_that_train() -> None:
    found = objects(replace(JOB, shared=True), IMAGE)
    assert found["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]
    pod = found["RayJob"]["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]
    assert pod["containers"][0]["volumeMounts"] == [{"name": "runs", "mountPath": "/runs"}]


def test_a_given_cluster_is_neither_retried_nor_ended() -> None:
    found = objects(JOB, "cluster=team")
    assert list(found) == ["RayJob"]
    spec = found["RayJob"]["spec"]
    assert spec["clusterSelector"] == {"ray.io/cluster": "team"}
    assert (spec["backoffLimit"], spec["submissionMode"]) == (0, "HTTPMode")
    assert not {"rayClusterSpec", "ttlSecondsAfterFinished", "shutdownAfterJobFinishes"} & spec.keys()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["cluster=c", "retries=1"], "--set retries: expected none with cluster, which takes name, "),
        (["cluster=c", "keep_seconds=1"], "--set keep_seconds: expected none with cluster"),
        (["cluster=c", "workers=3"], "--set workers: expected none with cluster"),
        (["cluster=c", "submission_mode=SidecarMode"], "--set submission_mode: expected HTTPMode with cluster"),
        (["cluster=c", "submission_mode=K8sJobMode"], "got K8sJobMode"),
        ([], "--set image: expected an image with compact-nas, or pip or working_dir"),
        ([IMAGE, "volume=v", "storage=1Gi"], "--set storage: expected only where the claim is made, got volume v too"),
    ],
)
def test_what_does_not_fit_together_is_refused(given: Sequence[str], message: str) -> None:
    (told,) = refused(JOB, *given)
    assert message in told


def test_the_engine_must_be_ray_and_one_machine_measures_for_one_device() -> None:
    assert refused(LOCAL, IMAGE) == ["search.engine: expected ray with --to kubernetes, got local"]
    (told,) = refused(replace(JOB, devices=("pi5", "tpu")), IMAGE, "measuring_node=a=b")
    assert told.endswith("got pi5, tpu")
    (told,) = refused(replace(JOB, devices=("a b",)), IMAGE)
    assert told == "targets.device: expected letters, digits and _.- with --to kubernetes, got 'a b'"
    assert not refused(JOB, "cluster=c", "submission_mode=HTTPMode")
    assert not refused(JOB, "pip=compact-nas")


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}", fullmatch=True))
def test_any_study_name_becomes_a_name_that_kubernetes_takes(name: str) -> None:
    found = job_name(replace(JOB, name=name), KubernetesOptions())
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,45}[a-z0-9])?", found)
    assert job_name(replace(JOB, name=name), KubernetesOptions(name="other")) == "other"


def test_names_stay_recognisable() -> None:
    assert job_name(replace(JOB, name="CIFAR_10.v2"), KubernetesOptions()) == "cifar-10-v2"
    assert job_name(replace(JOB, name="8px"), KubernetesOptions()) == "study-8px"


def test_the_submitters_shells_leave_the_entrypoint_as_it_is() -> None:
    """In K8sJobMode a shell reads it, Ray's command line joins the words again, and the head's shell reads that."""
    entrypoint = objects(JOB, IMAGE)["RayJob"]["spec"]["entrypoint"]
    assert subprocess.list2cmdline(shlex.split(entrypoint)) == entrypoint == "bash /etc/compact-nas/run.sh"


def test_the_script_runs_the_study_with_the_very_values(tmp_path: Path) -> None:
    script = objects(JOB, IMAGE, f"runs={tmp_path}/runs")["ConfigMap"]["data"]["run.sh"]
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    python.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    study, out = "/etc/compact-nas/study.yaml", f"{tmp_path}/runs/digits"
    assert done.stdout.splitlines() == ["-m", "nas.cli", "run", study, *JOB.overrides, "--out", out]
    assert (tmp_path / "runs").is_dir()


def test_the_runtime_environment_is_yaml_within_yaml() -> None:
    spec = objects(JOB, "pip=compact-nas>=0.1", "working_dir=https://example.org/a.zip")["RayJob"]["spec"]
    env = yaml.safe_load(spec["runtimeEnvYAML"])
    assert env["pip"] == ["compact-nas>=0.1"]
    assert env["working_dir"] == "https://example.org/a.zip"
    assert env["env_vars"] == {"RAY_JOB_STOP_WAIT_TIME_S": "120"}


def test_the_objects_come_in_the_order_in_which_they_are_needed() -> None:
    kinds = [one["kind"] for one in manifests(JOB, options(IMAGE))]
    assert kinds == ["ConfigMap", "PersistentVolumeClaim", "RayJob"]
