"""What is deployed: every flow can be imported, explains its few parameters, bounds them, and asks for no secret."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema

from deployments.own import FLOWS as OWN
from deployments.setup import POOL

FILE = Path(__file__).parents[2] / "deployments" / "prefect.yaml"
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load(FILE.read_text())["deployments"]
FLOWS: dict[str, Flow[..., Any]] = {
    one["entrypoint"]: load_flow_from_entrypoint(one["entrypoint"], use_placeholder_flow=False) for one in DEPLOYMENTS
}
MAX_PARAMETERS = 5
WRITTEN_OVER = {"flows.desk.find", "flows.desk.suppress"}
"""Forms that a number is typed into: the flow writes it over before anything else (tests/flows/test_desk.py)."""


@pytest.mark.parametrize("entrypoint", FLOWS)
def test_the_run_form_explains_itself(entrypoint: str) -> None:
    flow = FLOWS[entrypoint]
    properties = parameter_schema(flow).properties
    assert flow.description
    assert len(properties) <= MAX_PARAMETERS
    for name, field in properties.items():
        assert field.get("description"), f"{name} has no line under Args: in the docstring"
        assert field["type"] in ("string", "integer", "boolean"), f"{name} is not flat"
        is_bounded = {"maxLength", "maximum", "enum", "const"} & set(field) or field["type"] == "boolean"
        assert is_bounded, f"{name} is not bounded"
        assert not {"token", "secret", "password", "key", "phone"} & set(name.split("_"))
        assert name != "number" or entrypoint in WRITTEN_OVER


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: str(one["name"]))
def test_a_deployment_is_described_tagged_and_versioned(deployment: dict[str, Any]) -> None:
    assert deployment["description"].strip()
    assert "posthorn" in deployment["tags"]
    assert deployment["version"] == version("posthorn")
    assert deployment["work_pool"]["name"] == POOL
    assert all({"slug", "cron", "timezone"} <= set(schedule) for schedule in deployment.get("schedules", ()))


def test_an_events_own_deployment_runs_the_tickets_flow() -> None:
    assert all(one.entrypoint in FLOWS for one in OWN.values())


# What looks after every campaign and event; two of them side by side would only wait for each other.
BY_THEMSELVES = {"delivery-reports": "CANCEL_NEW", "reconcile": "CANCEL_NEW", "opt-outs": "CANCEL_NEW"}
DAILY_OR_OFTENER = {"delivery-reports", "reconcile", "opt-outs", "housekeeping"}


def test_what_looks_after_everything_is_switched_on_and_runs_alone() -> None:
    by_name = {deployment["name"]: deployment for deployment in DEPLOYMENTS}
    for name, strategy in BY_THEMSELVES.items():
        assert by_name[name]["concurrency_limit"] == {"limit": 1, "collision_strategy": strategy}
    assert {name for name, one in by_name.items() if any(schedule["active"] for schedule in one.get("schedules", ()))} >= (
        DAILY_OR_OFTENER
    )
