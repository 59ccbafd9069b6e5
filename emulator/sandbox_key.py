"""The real sandbox's public key, for those who want to verify events that the real bank signed.

Public information. Its private half is the bank's alone: while this key is shown as the newest, the events of
this emulator do not verify.
"""

# Observed: recorded in the public Postman collection; verifies official signed events from 2020 to 2025.
SANDBOX_KEY = {
KEY
}
