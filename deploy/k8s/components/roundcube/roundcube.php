<?php
// The name that the certificate is for; it is checked as every mail program checks it.
$config['imap_conn_options'] = ['ssl' => ['verify_peer' => true, 'peer_name' => getenv('HOLUB_HOSTNAME')]];
$config['smtp_conn_options'] = $config['imap_conn_options'];
$config['managesieve_conn_options'] = $config['imap_conn_options'];
$config['managesieve_host'] = 'tls://managesieve:4190';
$config['smtp_user'] = '%u';
$config['smtp_pass'] = '%p';
