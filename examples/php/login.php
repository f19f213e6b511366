<?php
// A login page in PHP that lets ticketd spend the ticket. Needs PHP 8.1 or later, and no packages.
// Environment: TICKETD (its URL), API_KEY (scope redeem).
//
// In production, run the page behind TLS, with session.cookie_secure, and keep the query out of the server's log. Give
// API_KEY the brand below alone: two brands may have a username in common.
declare(strict_types=1);

const BRAND = 'commbox';
[$ticketd, $key] = array_map('getenv', ['TICKETD', 'API_KEY']);
if (!$ticketd || !$key) {
    error_log('set TICKETD and API_KEY');
    http_response_code(500);
    exit(1);
}

// redeem spends a ticket. Only status 200 lets the person in; with 503 nobody can tell now. If an answer gets lost,
// redeem repeats the request with the same binding, and ticketd gives the same answer.
function redeem(string $ticketd, string $key, string $ticket): array
{
    $context = stream_context_create(['http' => [
        'method' => 'POST', 'ignore_errors' => true, 'timeout' => 3,
        'header' => ["Authorization: Bearer $key", 'Content-Type: application/json'],
        'content' => json_encode(['ticket' => $ticket, 'audience' => 'agent', 'binding' => bin2hex(random_bytes(16))],
            JSON_THROW_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE),
    ]]);
    for ($attempt = 1; $attempt <= 3; $attempt++) {
        $answer = json_decode((string) @file_get_contents("$ticketd/auth/redeem", false, $context), true);
        if (is_array($answer)) {
            return $answer;
        }
    }
    error_log(error_get_last()['message'] ?? 'no answer of ticketd');
    return ['status' => 503];
}

// ticketOf returns the ticket of a query, or null, or '' for more tickets than one. Some clients encode it twice.
function ticketOf(string $query): ?string
{
    preg_match_all('/(?:^|&)(?:ta|TA)=([^&]*)/', $query, $found);
    return match (count($found[1])) {
        0 => null,
        1 => rawurldecode(urldecode($found[1][0])),
        default => '',
    };
}

function say(int $status, string $text): void
{
    http_response_code($status);
    header('Content-Type: text/plain; charset=utf-8');
    echo "$text\n";
}

header('Cache-Control: no-store');
header('Referrer-Policy: no-referrer');
session_cache_limiter('');
session_start(['cookie_httponly' => true, 'cookie_samesite' => 'Lax', 'use_strict_mode' => true]);
$ticket = ticketOf($_SERVER['QUERY_STRING'] ?? '');
if ($ticket === null) {
    isset($_SESSION['user']) ? say(200, "Signed in as {$_SESSION['user']}") : say(403, 'Not signed in');
    return;
}
// Prefetches and previews spend nothing.
$purpose = implode(',', array_map(fn (string $name): string => $_SERVER["HTTP_$name"] ?? '',
    ['SEC_PURPOSE', 'PURPOSE', 'X_PURPOSE', 'X_MOZ']));
if ($_SERVER['REQUEST_METHOD'] !== 'GET' || preg_match('/prefetch|prerender|preview/i', $purpose)) {
    say(503, 'Open this link in a browser');
    return;
}
$answer = $ticket === '' ? ['status' => 403] : redeem($ticketd, $key, $ticket);
$data = $answer['data'] ?? [];
switch ((int) $answer['status']) {
    case 200:
        if ($data['ticket']['brand'] !== BRAND) {
            error_log('API_KEY is for other brands as well');
            say(500, 'Something went wrong on our side');
            return;
        }
        session_regenerate_id(true);
        $_SESSION['user'] = $data['agent']['username'];
        header('Location: ' . strtok($_SERVER['REQUEST_URI'], '?'), true, 303);
        return;
    case 403:
        error_log('ticket ' . ($data['ticketId'] ?? '(not one of ours)') . ' refused: ' . ($data['reason'] ?? 'empty'));
        say(403, 'This link does not work any more');
        return;
    case 503:
        say(503, 'Cannot check your link now. Try again in a moment.');
        return;
}
error_log("ticketd answers {$answer['status']}: {$answer['description']}");
say(500, 'Something went wrong on our side');
