<?php
// Posts a signed body as the PHP SDK does: a stream, which reads no proxy variable; OpenSSL reads SSL_CERT_FILE.
// The SDK reaches the TLS port by a line in the hosts file; here the name is given beside the address.
$headers = "";
foreach (["Access-Id", "Access-Time", "Access-Signature"] as $name) {
    $headers .= $name . ": " . getenv(strtoupper(str_replace("-", "_", $name))) . "\r\n";
}
$options = [
    "http" => ["method" => "POST", "header" => $headers, "content" => getenv("BODY"), "ignore_errors" => true],
    "ssl" => ["peer_name" => "sandbox.api.starkbank.com"],
];
$content = file_get_contents(getenv("TLS_URL") . "/v2/invoice", false, stream_context_create($options));
echo explode(" ", $http_response_header[0])[1], "\n", $content, "\n";
