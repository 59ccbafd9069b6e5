# Posts a signed body with curl, which reads https_proxy and CURL_CA_BUNDLE.
curl -sS https://sandbox.api.starkbank.com/v2/invoice -d "$BODY" -w '\n%{http_code}\n' \
    -H "Access-Id: $ACCESS_ID" -H "Access-Time: $ACCESS_TIME" -H "Access-Signature: $ACCESS_SIGNATURE" \
    | awk 'NR == 1 { body = $0 } NR == 2 { print; print body }'
