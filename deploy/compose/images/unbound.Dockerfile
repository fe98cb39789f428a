# A validating resolver, for which there is no image of its makers.
ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}
# hadolint ignore=DL3008
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends unbound dns-root-data \
 && rm -rf /var/lib/apt/lists/*
# The trust anchor is kept up to date (RFC 5011), so it begins as a copy.
CMD ["sh", "-c", "cp /usr/share/dns/root.key /var/lib/unbound/root.key && chown -R unbound /var/lib/unbound && exec unbound -d -c /etc/unbound/unbound.conf"]
HEALTHCHECK --interval=10s --start-period=30s CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/53"]
