"""What Beam's harness must be told, from what a runner asks of a worker pool."""

from __future__ import annotations

import logging
import tempfile
from typing import Any

import grpc
from apache_beam.portability.api import (
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    beam_runner_api_pb2,
    endpoints_pb2,
)
from google.protobuf import json_format, text_format

_LOG = logging.getLogger(__name__)

_PROVISION_SECONDS = 60.0

# Staged with every job: a list of what the submitter has installed, for people to read.
_FOR_INFORMATION = frozenset({"submission_environment_dependencies.txt"})


def worker_environment(request: Any) -> dict[str, str]:
    """The environment variables that `sdk_worker_main` reads.

    Args:
      request: a `StartWorkerRequest`; its provisioning service is asked for the pipeline's
        options and the runner's abilities.

    Raises:
      grpc.RpcError: the provisioning service does not answer.
    """
    info = _provision_info(request)
    _warn_of_artifacts(info)
    options = json_format.MessageToJson(info.pipeline_options)
    return {
        "WORKER_ID": request.worker_id,
        "SEMI_PERSISTENT_DIRECTORY": tempfile.gettempdir(),
        "PIPELINE_OPTIONS": options if info.HasField("pipeline_options") else "{}",
        "CONTROL_API_SERVICE_DESCRIPTOR": _endpoint(
            info.control_endpoint.url or request.control_endpoint.url),
        "LOGGING_API_SERVICE_DESCRIPTOR": _endpoint(
            info.logging_endpoint.url or request.logging_endpoint.url),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }


def _provision_info(request: Any) -> Any:
    with grpc.insecure_channel(request.provision_endpoint.url) as channel:
        stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        return stub.GetProvisionInfo(
            beam_provision_api_pb2.GetProvisionInfoRequest(),
            metadata=[("worker_id", request.worker_id)],
            timeout=_PROVISION_SECONDS,
        ).info


def _warn_of_artifacts(info: Any) -> None:
    staged = set()
    for artifact in info.dependencies:
        payload = beam_runner_api_pb2.ArtifactStagingToRolePayload()
        payload.ParseFromString(artifact.role_payload)
        staged.add(payload.staged_name)
    staged -= _FOR_INFORMATION
    if staged:
        _LOG.warning(
            "the job brings %s; a worker pool installs nothing: its Python must have what "
            "the job needs", ", ".join(sorted(staged)))


def _endpoint(url: str) -> str:
    return text_format.MessageToString(
        endpoints_pb2.ApiServiceDescriptor(url=url), as_one_line=True)
