<?php
// Rooms with GatewayWorker: a client logs in, joins a group, and talks to the group or to one user.
//
//     composer require workerman/gateway-worker
//     beside start_register.php, start_gateway.php and start_businessworker.php: php start.php start

use GatewayWorker\Lib\Gateway;

class Events
{
    public static function onConnect($client_id)
    {
        Gateway::sendToClient($client_id, json_encode(['type' => 'welcome', 'client_id' => $client_id]));
    }

    public static function onMessage($client_id, $message)
    {
        $request = json_decode($message, true);
        switch ($request['type']) {
            case 'login':
                Gateway::bindUid($client_id, $request['user']);
                Gateway::setSession($client_id, ['user' => $request['user'], 'room' => $request['room']]);
                Gateway::joinGroup($client_id, $request['room']);
                self::tellRoom($request['room'], ['type' => 'came', 'user' => $request['user']]);
                break;
            case 'say':
                $session = Gateway::getSession($client_id);
                self::tellRoom($session['room'], ['type' => 'said', 'user' => $session['user'], 'text' => $request['text']]);
                break;
            case 'whisper':
                $session = Gateway::getSession($client_id);
                Gateway::sendToUid($request['to'], json_encode([
                    'type' => 'whispered', 'user' => $session['user'], 'text' => $request['text'],
                ]));
                break;
            case 'who':
                $session = Gateway::getSession($client_id);
                $users = array_values(Gateway::getUidListByGroup($session['room']));
                sort($users);
                Gateway::sendToClient($client_id, json_encode(['type' => 'who', 'users' => $users]));
                break;
        }
    }

    public static function onClose($client_id)
    {
        if (isset($_SESSION['room'])) {
            self::tellRoom($_SESSION['room'], ['type' => 'went', 'user' => $_SESSION['user']]);
        }
    }

    private static function tellRoom($room, $answer)
    {
        Gateway::sendToGroup($room, json_encode($answer));
    }
}
