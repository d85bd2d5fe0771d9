# Workers without GPUs: for Dataflow, and with another entry point for Flink.
# docker build -f containers/cpu.Dockerfile -t mirrorbeam-cpu .        (from the top folder)

ARG PYTHON_VERSION=3.11
ARG BEAM_VERSION=2.77.0

FROM apache/beam_python${PYTHON_VERSION}_sdk:${BEAM_VERSION} AS beam

FROM python:${PYTHON_VERSION}-slim-bookworm

# What starts Beam's Python when Dataflow, or Flink with a Docker environment, starts the container.
COPY --from=beam /opt/apache/beam /opt/apache/beam

WORKDIR /opt/mirrorbeam

# The large packages first: their layer stays when only this package's code changes.
COPY constraints.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt tensorflow 'apache-beam[gcp]' tfx-bsl

COPY pyproject.toml setup.py README.md LICENSE ./
COPY transforms transforms
COPY pipelines pipelines
RUN pip install --no-cache-dir --constraint constraints.txt '.[images,legacy,report]' \
    && pip check

# Everything is installed above: boot must make no second environment.
ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 \
    TF_CPP_MIN_LOG_LEVEL=2

ENTRYPOINT ["/opt/apache/beam/boot"]
