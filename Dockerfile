# syntax=docker/dockerfile:1
FROM rust:1-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY src src
# The manifest names them; they are not built.
COPY benches benches
COPY tests tests
RUN cargo build --release --locked --package stoxgate && install -D target/release/stoxgate /out/stoxgate

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 5269 --home-dir /var/lib/stoxgate --create-home stoxgate
COPY --from=build /out/stoxgate /usr/local/bin/stoxgate
USER stoxgate
VOLUME /var/lib/stoxgate
# XMPP server-to-server; SIP over UDP and TCP; SIP over TLS
EXPOSE 5269/tcp 5060/udp 5060/tcp 5061/tcp
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["stoxgate", "status", "--config", "/etc/stoxgate/gateway.toml", "--quiet"]
ENTRYPOINT ["stoxgate"]
CMD ["serve", "--config", "/etc/stoxgate/gateway.toml"]
