# face-organizer in a container: debian:bookworm-slim, Debian's Python 3.11, and wheels from one hashed lock. All of
# CUDA comes from the lock too, so that there is one cuDNN and no base image to disagree with it; the host needs
# nothing but its driver. Classic builder and BuildKit alike.
#
#   docker build --build-arg PROFILE=cpu -t face-organizer:cpu .
ARG BASE=debian:bookworm-slim

# What runs: the base and Python. Debian packages come from packages/debian where `make wheels` has filled it.
FROM ${BASE} AS system
COPY packages/ /packages/
COPY scripts/debian-packages.sh /packages/
RUN /packages/debian-packages.sh python3 && rm -rf /packages

# The environment of one profile. Wheels come from packages/PROFILE where it is filled, else from the index.
FROM system AS environment
ARG PROFILE=gpu
COPY packages/ /packages/
COPY scripts/debian-packages.sh /packages/
RUN /packages/debian-packages.sh python3-venv
COPY locks/${PROFILE}.txt /opt/venv/locks/
# pip stands apart, so that the environment holds what the lock says and nothing else.
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/venv \
 && if [ -d "/packages/${PROFILE}" ]; then set -- --no-index --find-links "/packages/${PROFILE}"; else set --; fi \
 && /opt/pip/bin/pip --python /opt/venv/bin/python install --quiet --no-cache-dir --no-deps --require-hashes \
      --only-binary :all: "$@" -r "/opt/venv/locks/${PROFILE}.txt" \
 && echo /app/package > /opt/venv/lib/python3.11/site-packages/face_organizer.pth

# The package itself, apart from the environment: a change of code rebuilds this and what follows, in seconds.
FROM environment AS package
WORKDIR /source
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY face_organizer/ face_organizer/
RUN /opt/pip/bin/pip --python /opt/venv/bin/python install --quiet --no-cache-dir --no-deps --no-index \
      --no-build-isolation --target /app/package .
COPY scripts/*.py scripts/stay-up.sh /app/scripts/
RUN chmod -R go-w,a+rX /app && chmod a+x /app/scripts/*

# In one layer of its own, so that nothing that the build needed is left below.
FROM scratch
COPY --from=system / /
COPY --from=environment /opt/venv /opt/venv
ARG UID=1000
ARG GID=1000
RUN groupadd --gid "${GID}" --non-unique organizer \
 && useradd --uid "${UID}" --gid "${GID}" --non-unique --home-dir /models --no-create-home --shell /bin/bash organizer \
 && install -d -o "${UID}" -g "${GID}" /models /workspace
COPY --from=package /app /app

ARG PROFILE=gpu
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="face-organizer" \
      org.opencontainers.image.description="Sorts large collections of face pictures by person (${PROFILE})" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="debian:bookworm-slim"

# HOME holds model packs, DeepFace's weights and rewritten graphs: mount a volume there.
ENV PATH=/opt/venv/bin:/app/package/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/models \
    DEEPFACE_HOME=/models \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

USER organizer
WORKDIR /workspace
VOLUME ["/models"]
HEALTHCHECK --interval=5m --timeout=60s --start-period=30s --retries=2 CMD ["face-organizer", "doctor", "--quick", "-q"]
CMD ["/app/scripts/stay-up.sh"]
