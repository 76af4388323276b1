<?php
// A chat with Workerman: everybody hears everybody of the same process, and the time every two seconds.
//
//     composer require workerman/workerman && php chat.php start
//     ws://127.0.0.1:8000/?name=ada

use Workerman\Connection\TcpConnection;
use Workerman\Protocols\Http\Request;
use Workerman\Timer;
use Workerman\Worker;

require_once __DIR__ . '/vendor/autoload.php';

$worker = new Worker('websocket://127.0.0.1:8000');
$worker->name = 'chat';
$worker->count = 1; // with more, clients of two processes do not hear each other

$worker->onWorkerStart = function (Worker $worker) {
    Timer::add(2, function () use ($worker) {
        foreach ($worker->connections as $connection) {
            $connection->send('It is ' . date('H:i:s'));
        }
    });
};

$worker->onWebSocketConnect = function (TcpConnection $connection, Request $request) use ($worker) {
    $connection->name = $request->get('name', 'guest');
    foreach ($worker->connections as $other) {
        $other->send("{$connection->name} is here");
    }
};

$worker->onMessage = function (TcpConnection $connection, string $data) use ($worker) {
    foreach ($worker->connections as $other) {
        $other->send("{$connection->name}: $data");
    }
};

$worker->onClose = function (TcpConnection $connection) use ($worker) {
    foreach ($worker->connections as $other) {
        $other->send("{$connection->name} has left");
    }
};

Worker::runAll();
