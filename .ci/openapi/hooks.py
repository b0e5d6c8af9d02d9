"""What the OpenAPI document of Fieldlog cannot say to schemathesis."""

import json

import schemathesis

# Valid only beside other parameters, at a revision of a device, or as a page before has answered it.
BESIDE_OTHERS = {"cursor", "tz", "aggregate", "asRecordedAt", "to", "If-Match", "Idempotency-Key"}
# Answered 503 when the position is not reached in time.
AWAITED = {"waitFor"}
# Whose content other specifications describe: it has no schema here.
FOREIGN_TYPES = ("application/cbor", "application/senml", "application/sensml", "application/cloudevents")


@schemathesis.hook
def filter_case(context, case):
    is_valid = case.meta is not None and case.meta.generation.mode == schemathesis.GenerationMode.POSITIVE
    names = {*(case.query or {}), *(case.headers or {})}
    if isinstance(case.body, dict) and case.operation.path != "/api/v1/rules/preview":
        names |= {*case.body}
    if names & AWAITED:
        return False
    return not is_valid or not (names & BESIDE_OTHERS or (case.media_type or "").startswith(FOREIGN_TYPES))


@schemathesis.serializer("application/x-ndjson", "application/x-protobuf")
def one_line(context, value):
    return json.dumps(value).encode()
