# The image of Posthorn: one program, and nothing else that could be run. docs/docker.md says how to build it and what it takes.
#
# BuildKit and the classic builder build it alike. Nothing is cross-compiled: each platform is built on its own machine, or under emulation.

# the compiler of rust-toolchain.toml
ARG BUILDER_IMAGE=docker.io/library/rust:1.95.0-bookworm
# libc and libgcc, and neither a shell nor a package manager; any image whose glibc is not older than the builder's will do
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILDER_IMAGE} AS build
WORKDIR /build
ARG CARGO_BUILD_JOBS
ENV CARGO_PROFILE_RELEASE_DEBUG=none CARGO_PROFILE_RELEASE_STRIP=symbols

# The dependencies: a layer that stays until Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src && touch src/lib.rs && echo 'fn main() {}' >src/main.rs && cargo build --release --locked

# Cargo goes by the time of a file, and a clone may be older than the layer above.
COPY src src
RUN touch src/lib.rs src/main.rs && cargo build --release --locked && mkdir /data

FROM ${RUNTIME_IMAGE}
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /build/target/release/posthorn /usr/local/bin/
# A volume that is mounted here first gets this owner.
COPY --from=build --chown=65532:65532 /data /var/lib/posthorn
# Nobody reaches the loopback address of a container.
ENV POSTHORN_LISTEN=0.0.0.0:8080 POSTHORN_ADMIN_LISTEN=0.0.0.0:9090 POSTHORN_DATA_DIR=/var/lib/posthorn
EXPOSE 8080 9090
USER 65532:65532
ENTRYPOINT ["posthorn"]

ARG RUNTIME_IMAGE
ARG VERSION=dev
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=https://github.com/posthorn/posthorn
LABEL org.opencontainers.image.title="Posthorn" \
      org.opencontainers.image.description="Event delivery on Kubernetes: durable, in order, at least once" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${RUNTIME_IMAGE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"
