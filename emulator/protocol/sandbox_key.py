"""The real sandbox's public key, to verify events that the real bank signed.

Public information. Its private half is the bank's alone: while this key is shown as the newest, the events of
this emulator do not verify.
"""

# Observed: recorded in the public Postman collection; verifies official signed events from 2020 to 2025.
SANDBOX_KEY = {
    "content": (
        "-----BEGIN PUBLIC KEY-----\n"
        "MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEQA+bOEY57yQGYdcF0q7Ia/JPc0Hr8Il0\n"
        "/pbETwvDSM+7yCkqTPDRsdptMMaoK9UEXILOaXq9Ot5azrgQEcTetg==\n"
        "-----END PUBLIC KEY-----\n"
    ),
    "created": "2020-03-24T03:58:00+00:00",
}
