"""The manifests: valid, and consistent about what a shard is."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrate.dags.partnercenter_meltano import GRACE
from orchestrate.dags.partnercenter_shards import Tenant, read_plan
from partnercenter_demo.meltano import find_uv
from tests.command_line import FINAL
from tests.orchestrate.conftest import ORCHESTRATE

FOLDER = ORCHESTRATE / "kubernetes"
MANIFESTS = sorted(FOLDER.glob("*.yaml"))
VALIDATOR = "kubernetes-validate==1.37.0"
KUBERNETES = "1.29"
"""The oldest supported version: the first with a backoff limit for each index."""


def manifest(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return found


def container() -> dict[str, Any]:
    (found,) = manifest("job.yaml")["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def test_the_cron_job_is_the_job_at_night() -> None:
    """One is a copy of the other, inside a schedule."""
    job, cron = manifest("job.yaml"), manifest("cronjob.yaml")
    assert cron["spec"]["jobTemplate"]["spec"] == job["spec"]
    assert cron["metadata"]["labels"] == job["metadata"]["labels"]
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"


def test_each_index_is_a_shard() -> None:
    """There are as many completions as shards, and Kubernetes provides the index."""
    spec = manifest("job.yaml")["spec"]
    variables = {one["name"]: one for one in container()["env"]}
    assert spec["completionMode"] == "Indexed"
    assert variables["TAP_PARTNERCENTER_SHARD_COUNT"]["value"] == str(spec["completions"])
    index = variables["TAP_PARTNERCENTER_SHARD_INDEX"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert index == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    # A limit for each index is only allowed with this policy.
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_running_pods_share_the_quota() -> None:
    """As in Airflow's plan; no pod is left to run alone with only its share."""
    spec = manifest("job.yaml")["spec"]
    variables = {one["name"]: one.get("value") for one in container()["env"]}
    ceiling = int(str(variables["TAP_PARTNERCENTER_MAX_REQUESTS_PER_MINUTE"]))
    (de, *_) = read_plan(ORCHESTRATE / "tenants.example.yaml").tenants
    assert de.requests_per_minute == ceiling * spec["parallelism"]
    assert spec["completions"] % spec["parallelism"] == 0


def test_the_retries_outlast_the_lock_of_a_killed_pod() -> None:
    """Meltano holds the state id of a silent process for five minutes."""
    retries = manifest("job.yaml")["spec"]["backoffLimitPerIndex"]
    # Kubernetes doubles the pause, from ten seconds up to six minutes.
    assert sum(min(10 * 2**retry, 360) for retry in range(retries - 1)) > 300


def test_the_pods_run_what_airflow_runs() -> None:
    """With the same state ids, so that one can take over from the other."""
    spec = manifest("job.yaml")["spec"]
    tenant = Tenant("de", "partnercenter_de", shards=spec["completions"])
    values = {"SHARD_INDEX": "3", "SHARD_COUNT": str(spec["completions"])}
    arguments = [
        re.sub(r"\$\(TAP_PARTNERCENTER_(\w+)\)", lambda name: values[name[1]], argument)
        for argument in container()["args"]
    ]
    assert [container()["command"][-1], *arguments] == tenant.command("prod", 3)
    schema = tenant.variables(3)["TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA"]
    assert {"name": "TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA", "value": schema} in container()["env"]


def test_permanent_errors_are_not_retried() -> None:
    """A drained node does not use up a retry either: the first matching rule counts."""
    spec = manifest("job.yaml")["spec"]
    drained, final = spec["podFailurePolicy"]["rules"]
    assert drained["action"] == "Ignore"
    assert [one["type"] for one in drained["onPodConditions"]] == ["DisruptionTarget"]
    assert final["action"] == "FailIndex"
    codes = final["onExitCodes"]
    assert (codes["containerName"], codes["operator"]) == (container()["name"], "In")
    assert codes["values"] == [FINAL]
    # Meltano's own exit code would be 1.
    program = Path(container()["command"][-2])
    assert (ORCHESTRATE / "dags" / program.name).is_file()


def test_a_stopped_pod_has_time_to_store_its_records() -> None:
    """It has that time before its processes are killed, and these before the pod is."""
    period = manifest("job.yaml")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert period > GRACE


def test_the_successors_of_the_refresh_token_outlive_the_pod() -> None:
    """In a database, as no lasting volume is mounted; its URL has a password, hence the Secret."""
    variables = {one["name"]: one for one in container()["env"]}
    (secret,) = [one["secretRef"]["name"] for one in container()["envFrom"]]
    for name in ("TAP_PARTNERCENTER_TOKEN_CACHE_PATH", "TAP_PARTNERCENTER_TOKEN_CACHE_KEY"):
        reference = variables[name]["valueFrom"]["secretKeyRef"]
        assert reference == {"name": secret, "key": name}


#: Its command rejects manifests with `generateName`, its library does not.
VALIDATE = """
import sys
import kubernetes_validate, yaml

version, *paths = sys.argv[1:]
for path in paths:
    with open(path) as file:
        print(kubernetes_validate.validate(yaml.safe_load(file), version, strict=True))
"""


@pytest.mark.e2e
def test_the_manifests_follow_the_schemas_of_kubernetes() -> None:
    """Strictly: unknown fields are errors."""
    command = [find_uv(), "tool", "run", "--quiet", "--from", VALIDATOR, "python", "-c", VALIDATE]
    assert MANIFESTS
    checked = subprocess.run(
        [*command, KUBERNETES, *MANIFESTS], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.split() == [KUBERNETES] * len(MANIFESTS)
