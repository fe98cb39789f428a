# The official image's variables, in the configuration of Debian's package.
printf 'default_user = %s\ndefault_pass = %s\nloopback_users = none\n' \
  "$RABBITMQ_DEFAULT_USER" "$RABBITMQ_DEFAULT_PASS" > /etc/rabbitmq/rabbitmq.conf
chown -R rabbitmq /var/lib/rabbitmq
exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups env HOME=/var/lib/rabbitmq \
  RABBITMQ_LOGS=- rabbitmq-server
