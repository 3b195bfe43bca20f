# syntax=docker/dockerfile:1
FROM rust:1-bookworm AS build
# legacy-tls for partners that speak only old TLS: docs/adr/0007-legacy-tls.md.
ARG FEATURES=
WORKDIR /build
RUN [ -z "$FEATURES" ] || { apt-get update && apt-get install -y --no-install-recommends libssl-dev pkg-config; }
COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY src src
# The manifest names them; they are not built.
COPY benches benches
COPY tests tests
RUN cargo build --release --locked --package stoxgate --features "$FEATURES" \
 && install -D target/release/stoxgate /out/stoxgate

FROM debian:bookworm-slim
ARG FEATURES=
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates ${FEATURES:+libssl3} \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 5269 --home-dir /var/lib/stoxgate --create-home stoxgate
COPY --from=build /out/stoxgate /usr/local/bin/stoxgate
# Secrets are mounted into containers for everybody to read, of whom there is one.
ENV STOXGATE_TLS__LAX_KEY_PERMISSIONS=true
ENV STOXGATE_CONFIG=/etc/stoxgate/gateway.toml
USER stoxgate
VOLUME /var/lib/stoxgate
# XMPP server-to-server; SIP over UDP and TCP; SIP over TLS
EXPOSE 5269/tcp 5060/udp 5060/tcp 5061/tcp
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["stoxgate", "status", "--quiet"]
ENTRYPOINT ["stoxgate"]
CMD ["serve"]
