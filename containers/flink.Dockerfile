# Flink with Beam's runner on its own class path, so that workers outlive the stages of a job.
# docker build -f containers/flink.Dockerfile -t mirrorbeam-flink .

ARG FLINK_VERSION=1.19

FROM maven:3.9-eclipse-temurin-17 AS jars
ARG FLINK_VERSION
ARG BEAM_VERSION=2.77.0
RUN mvn --batch-mode --no-transfer-progress \
    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
    -Dartifact=org.apache.beam:beam-runners-flink-${FLINK_VERSION}-job-server:${BEAM_VERSION} \
    -DoutputDirectory=/jars

FROM flink:${FLINK_VERSION}-java17
COPY --from=jars /jars/ /opt/flink/lib/
