# A Dataflow Flex Template of `mirrorbeam score`: the worker's image and what launches it.
# docker build -f containers/flex.Dockerfile --build-arg WORKER_IMAGE=mirrorbeam-gpu -t mirrorbeam-flex .

ARG WORKER_IMAGE=mirrorbeam-gpu

# Google tags it by date alone, and it must fit the service of today.
# hadolint ignore=DL3007
FROM gcr.io/dataflow-templates-base/python311-template-launcher-base:latest AS launcher

# hadolint ignore=DL3006
FROM ${WORKER_IMAGE}

COPY --from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/
COPY pipelines/flex_template.py /template/main.py

ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/main.py

ENTRYPOINT ["/opt/google/dataflow/python_template_launcher"]
