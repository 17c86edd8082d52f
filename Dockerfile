# The operator's image. It needs no build network when wheels/ is in the build context: pip looks there first, and with
# --build-arg PIP_NO_INDEX=1 nowhere else. Whatever is installed is what the lock files' hashes say, wherever it comes from.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ARG PIP_NO_INDEX
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all: PIP_FIND_LINKS=/src/wheels
WORKDIR /src
# The pattern also fits where there is no such folder.
COPY requirements.lock requirements-build.lock wheel[s] wheels/
RUN python3 -m venv /build \
 && /build/bin/pip install --quiet --require-hashes --requirement wheels/requirements-build.lock \
 && python3 -m venv --without-pip /opt/vso \
 && /build/bin/pip --python /opt/vso/bin/python install --quiet --require-hashes --requirement wheels/requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN /build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /built . \
 && /build/bin/pip --python /opt/vso/bin/python install --quiet --no-deps --no-index /built/*.whl

FROM ${PYTHON_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="virtualservice-operator" \
      org.opencontainers.image.description="Routes each developer's requests to their own copies of Services, by writing Istio VirtualServices." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/vso /opt/vso
ENV PATH=/opt/vso/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["vso"]
CMD ["run"]
