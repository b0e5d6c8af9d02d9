"""What the OpenAPI document of Fieldlog cannot say to schemathesis."""

import json

import schemathesis

# Valid only beside other parameters, at a revision of a device, or as a page before has answered it.
BESIDE_OTHERS = {"cursor", "tz", "aggregate", "asRecordedAt", "to", "If-Match", "Idempotency-Key"}
# Answered 503 when the position is not reached in time.
AWAITED = {"waitFor"}


@schemathesis.hook
def filter_case(context, case):
    is_valid = case.meta is not None and case.meta.generation.mode == schemathesis.GenerationMode.POSITIVE
    names = {*(case.query or {}), *(case.headers or {}), *(case.body if isinstance(case.body, dict) else {})}
    return not names & AWAITED and not (is_valid and names & BESIDE_OTHERS)


@schemathesis.serializer("application/x-ndjson")
def ndjson(context, value):
    return json.dumps(value).encode()
