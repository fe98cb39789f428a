<?php
// The certificate is checked against the authority that `holub setup` made.
$ssl = ['ssl' => ['verify_peer' => true, 'cafile' => '/var/roundcube/tls/ca.pem']];
$config['imap_conn_options'] = $ssl;
$config['smtp_conn_options'] = $ssl;
$config['smtp_user'] = '%u';
$config['smtp_pass'] = '%p';
$config['managesieve_conn_options'] = $ssl;
$config['managesieve_host'] = 'tls://managesieve:4190';
