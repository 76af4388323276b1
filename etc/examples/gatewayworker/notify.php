<?php
// From a web application to the clients of GatewayWorker: needs the address of the register.
//
//     composer require workerman/gatewayclient && php notify.php ada "your build passed"

use GatewayClient\Gateway;

require_once __DIR__ . '/vendor/autoload.php';

Gateway::$registerAddress = '127.0.0.1:1238';
if (!Gateway::isUidOnline($argv[1])) {
    exit("$argv[1] is not connected\n");
}
Gateway::sendToUid($argv[1], json_encode(['type' => 'notice', 'text' => $argv[2]]));
