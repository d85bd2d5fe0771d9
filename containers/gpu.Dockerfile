# Workers with NVIDIA GPUs: for Dataflow, and with another entry point for Flink.
# docker build -f containers/gpu.Dockerfile -t mirrorbeam-gpu .        (from the top folder)
# CUDA and cuDNN come as wheels. The driver does not: the host mounts it.

ARG PYTHON_VERSION=3.11
ARG BEAM_VERSION=2.77.0

FROM apache/beam_python${PYTHON_VERSION}_sdk:${BEAM_VERSION} AS beam

FROM python:${PYTHON_VERSION}-slim-bookworm

# What starts Beam's Python when Dataflow, or Flink with a Docker environment, starts the container.
COPY --from=beam /opt/apache/beam /opt/apache/beam

WORKDIR /opt/mirrorbeam

# The large packages first: their layer stays when only this package's code changes.
COPY constraints.txt containers/constraints-gpu.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt --constraint constraints-gpu.txt \
    'tensorflow[and-cuda]' 'apache-beam[gcp]' tfx-bsl

COPY pyproject.toml setup.py README.md LICENSE ./
COPY transforms transforms
COPY pipelines pipelines
RUN pip install --no-cache-dir --constraint constraints.txt --constraint constraints-gpu.txt \
    '.[gpu,images,legacy,report]' \
    && pip check

# Everything is installed above: boot must make no second environment. Dataflow mounts the driver
# at /usr/local/nvidia; NVIDIA's container runtime is told by its own two variables.
ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 \
    TF_FORCE_GPU_ALLOW_GROWTH=true \
    TF_CPP_MIN_LOG_LEVEL=2 \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib64 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

ENTRYPOINT ["/opt/apache/beam/boot"]
