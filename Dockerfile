# The broker's image. Pin the base by its digest for builds that are to be the same: --build-arg PYTHON_IMAGE=python@sha256:…
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# The CAs of the base, as pip has it: a mirror may have one of its own.
ENV PYTHONDONTWRITEBYTECODE=1 UV_SYSTEM_CERTS=1
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends binutils \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements/image.txt requirements/broker.txt requirements/
RUN python3 -m pip install --no-cache-dir --require-hashes -r requirements/image.txt \
 && uv pip install --no-cache --python python3 --target /opt/valetkey --require-hashes --only-binary :all: -r requirements/broker.txt
COPY pyproject.toml README.md LICENSE ./
COPY broker broker
COPY clients/python clients/python
# Symbols that only debuggers read, and what only compilers and type checkers do.
RUN uv pip install --no-cache --python python3 --target /opt/valetkey --no-deps --no-build-isolation . ./clients/python \
 && find /opt/valetkey -name '*.so*' -type f -exec strip --strip-unneeded {} + \
 && find /opt/valetkey \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.c' -o -name '*.h' \) -delete \
 && find /opt/valetkey -type d \( -name tests -o -name testing -o -name __pycache__ \) -prune -exec rm -rf {} + \
 && find /opt/valetkey/bin -type f ! -name valetkey-broker -delete

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="valetkey-broker" \
      org.opencontainers.image.description="Credential broker: short-lived SAS tokens for Azure Blob Storage, by gRPC" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# No package installer: whoever gets in finds nothing to fetch more with. And folders that the broker's user may use.
RUN find / -xdev \( -path '*-packages/pip' -o -path '*-packages/pip-*' -o -path '*-packages/setuptools*' -o -path '*-packages/wheel*' \
      -o -path '*-packages/pkg_resources' -o -path '*-packages/_distutils_hack' -o -name distutils-precedence.pth -o -path '*/ensurepip' -o -path '*/bin/pip*' \) \
      -prune -exec rm -rf {} + \
 && mkdir -p /etc/valetkey /var/lib/valetkey \
 && chown 10001:10001 /var/lib/valetkey
COPY --from=build /opt/valetkey /opt/valetkey
ENV PATH=/opt/valetkey/bin:${PATH} \
    PYTHONPATH=/opt/valetkey \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    VALETKEY_BROKER_CONFIG=/etc/valetkey/broker.toml
COPY image/compile_loaded.py /tmp/compile_loaded.py
RUN python3 /tmp/compile_loaded.py && rm /tmp/compile_loaded.py
USER 10001:10001
WORKDIR /var/lib/valetkey
EXPOSE 8443
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["valetkey-broker", "health"]
ENTRYPOINT ["valetkey-broker"]
CMD ["serve"]
