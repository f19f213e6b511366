<?php
// An issuer of format 2: it signs tickets with Ed25519 and encrypts them to a login service with
// HPKE (X25519, HKDF-SHA256, AES-256-GCM). Needs PHP 8.1 or later with its extensions sodium and
// openssl, and no packages. token/SPEC.md describes every byte.
declare(strict_types=1);

const TAGS = ['brand', 'username', 'email', 'uniqueId', 'firstName', 'lastName', 'phone1', 'remark', 'channel', 'actor'];
const SUITE = "\x00\x20\x00\x01\x00\x02";

final class Issuer
{
    private array $by;
    private array $to;

    // $signing and $recipient are files with Tink keysets in JSON: your private signing keys, and
    // the login service's public keys.
    public function __construct(private string $issuer, private string $realm, string $signing, string $recipient)
    {
        $this->by = self::key($signing, 'Ed25519PrivateKey', '1220');
        $this->to = self::key($recipient, 'HpkePublicKey', '1206080110011802' . '1a20'); // the suite, and the key
    }

    // issue returns a ticket for a person.
    public function issue(array $person): string
    {
        $name = hash('sha256', "admitone/recipient/2\0" . SUITE . $this->to['raw'], true);
        $info = "admitone/ticket/2\0" . $this->realm;
        $secret = sodium_crypto_sign_secretkey(sodium_crypto_sign_seed_keypair($this->by['raw']));
        for (;;) {
            $payload = self::payload($person);
            $signature = sodium_crypto_sign_detached("$info\0{$this->issuer}\0$name$payload", $secret);
            $sealed = self::seal($this->to['raw'], $info, $this->by['id'] . $signature . $payload);
            $ticket = 'tkt2_' . sodium_bin2base64($this->to['id'] . $sealed, SODIUM_BASE64_VARIANT_URLSAFE_NO_PADDING);
            if (strlen($ticket) > 2048) {
                throw new LengthException('the ticket would be too long; shorten claims and other fields');
            }
            if (!preg_match('/[-_]$/', $ticket)) { // some programs leave such an ending out of a link
                return $ticket;
            }
        }
    }

    // key reads the primary key of a Tink keyset in JSON, of one type. The bytes of the key follow
    // the head of a protobuf field.
    private static function key(string $file, string $type, string $head): array
    {
        $keyset = json_decode(file_get_contents($file), true, flags: JSON_THROW_ON_ERROR);
        foreach ($keyset['key'] as $k) {
            $value = base64_decode($k['keyData']['value']);
            $at = strpos($value, hex2bin($head));
            if ($k['keyId'] === $keyset['primaryKeyId'] && $k['status'] === 'ENABLED' && $k['outputPrefixType'] === 'TINK'
                && str_ends_with($k['keyData']['typeUrl'], $type) && $at !== false) {
                return ['id' => pack('CN', 1, $k['keyId']), 'raw' => substr($value, $at + strlen($head) / 2, 32)];
            }
        }
        throw new InvalidArgumentException("$file: give a $type with the TINK prefix");
    }

    // seal is HPKE of RFC 9180, base mode, one message.
    private static function seal(string $recipient, string $info, string $plaintext): string
    {
        $ephemeral = random_bytes(32);
        $enc = sodium_crypto_scalarmult_base($ephemeral);
        $kem = "KEM\x00\x20";
        $prk = self::extract($kem, '', 'eae_prk', sodium_crypto_scalarmult($ephemeral, $recipient));
        $shared = self::expand($kem, $prk, 'shared_secret', $enc . $recipient, 32);
        $hpke = 'HPKE' . SUITE;
        $context = "\0" . self::extract($hpke, '', 'psk_id_hash', '') . self::extract($hpke, '', 'info_hash', $info);
        $secret = self::extract($hpke, $shared, 'secret', '');
        $key = self::expand($hpke, $secret, 'key', $context, 32);
        $nonce = self::expand($hpke, $secret, 'base_nonce', $context, 12);
        $ciphertext = openssl_encrypt($plaintext, 'aes-256-gcm', $key, OPENSSL_RAW_DATA, $nonce, $tag);
        return $enc . $ciphertext . $tag;
    }

    private static function extract(string $suite, string $salt, string $label, string $ikm): string
    {
        return hash_hmac('sha256', "HPKE-v1$suite$label$ikm", $salt, true);
    }

    private static function expand(string $suite, string $prk, string $label, string $info, int $size): string
    {
        return substr(hash_hmac('sha256', pack('n', $size) . "HPKE-v1$suite$label$info\x01", $prk, true), 0, $size);
    }

    private static function payload(array $person): string
    {
        $field = fn (int $tag, string $value): string => chr($tag) . (strlen($value) < 128 ? chr(strlen($value))
            : chr(strlen($value) & 127 | 128) . chr(strlen($value) >> 7)) . $value;
        $flags = (empty($person['oneTimeUse']) ? 0 : 1) | (empty($person['overrideUserInfo']) ? 0 : 2);
        $audience = ['agent' => 1, 'customer' => 2][$person['audience']];
        $lifetime = 1000 * ($person['expiresIn'] ?? ($audience === 2 ? 300 : 60));
        $b = chr($flags) . chr($audience) . random_bytes(16) . substr(pack('J', (int) (microtime(true) * 1000)), 2) . pack('N', $lifetime);
        foreach (TAGS as $i => $name) {
            if (($person[$name] ?? '') !== '') {
                $b .= $field($i + 1, $person[$name]);
            }
        }
        $claims = $person['claims'] ?? [];
        ksort($claims, SORT_STRING);
        foreach ($claims as $name => $value) {
            $b .= $field(64, chr(strlen((string) $name)) . $name . $value);
        }
        return $b;
    }
}

if (realpath($_SERVER['SCRIPT_FILENAME']) === __FILE__) {
    [$issuer, $realm, $signing, $recipient] = array_map('getenv', ['ISSUER', 'REALM', 'SIGNING', 'RECIPIENT']);
    if (!$issuer || !$realm || !$signing || !$recipient || !isset($argv[1])) {
        fwrite(STDERR, "set ISSUER, REALM, SIGNING and RECIPIENT, and give the person as JSON\n");
        exit(2);
    }
    echo (new Issuer($issuer, $realm, $signing, $recipient))->issue(json_decode($argv[1], true, flags: JSON_THROW_ON_ERROR)), "\n";
}
