<?php
// A backend that knows its users. It asks ticketd for a ticket and sends the browser to the login service with the
// ticket. Needs PHP 8.1 or later, and no packages. Environment: TICKETD (its URL), API_KEY (scope issue), LOGIN_URL.
declare(strict_types=1);

[$ticketd, $key, $login] = array_map('getenv', ['TICKETD', 'API_KEY', 'LOGIN_URL']);
if (!$ticketd || !$key || !$login) {
    error_log('set TICKETD, API_KEY and LOGIN_URL');
    http_response_code(500);
    exit(1);
}

function ticketFor(string $ticketd, string $key, array $user): string
{
    $answer = @file_get_contents("$ticketd/auth/ticket", false, stream_context_create(['http' => [
        'method' => 'POST', 'ignore_errors' => true, 'timeout' => 3,
        'header' => ["Authorization: Bearer $key", 'Content-Type: application/json'],
        'content' => json_encode(['data' => $user + ['oneTimeUse' => true]], JSON_THROW_ON_ERROR),
    ]]));
    if ($answer === false) {
        throw new RuntimeException(error_get_last()['message']);
    }
    $answer = json_decode($answer, true, flags: JSON_THROW_ON_ERROR);
    if ((int) $answer['status'] !== 200) {
        throw new RuntimeException("{$answer['status']}: {$answer['description']}");
    }
    return $answer['data']['encpryptedString']; // spelt so
}

// Take the person from your own session here.
$user = ['brand' => 'commbox', 'username' => 'john.d', 'email' => 'john.d@gmail.com'];

try {
    $ticket = ticketFor($ticketd, $key, $user);
    header('Cache-Control: no-store');
    header('Referrer-Policy: no-referrer');
    header("Location: $login?ta=$ticket", true, 303);
} catch (RuntimeException | JsonException $e) {
    error_log($e->getMessage()); // no ticket came, so none is logged
    http_response_code(502);
    header('Content-Type: text/plain');
    echo "Cannot sign you in now. Try again later.\n";
}
