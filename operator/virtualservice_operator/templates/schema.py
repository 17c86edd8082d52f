"""
What a VirtualService that a template makes may say: an allow-list, as JSON Schema with descriptions.

It is wider than what the operator writes by itself (core/check.py), and narrower than Istio's: no tcp, no tls, no
delegate, nothing that only the operator may say. A test holds it inside the schema of Istio's CRD.
"""

from typing import Any, Final

from virtualservice_operator.api.v1alpha1 import WHOLE_MILLISECONDS
from virtualservice_operator.core.template import RULES

Schema = dict[str, Any]

# These end with \Z: $ would let a last line break pass.
_DURATION: Final = r"^(?=.*[1-9])" + WHOLE_MILLISECONDS.removeprefix("^").removesuffix("$") + r"\Z"
_SECONDS: Final = r"^(?=.*[1-9])([0-9]+(h|m|s))+\Z"
_HEADER: Final = r"^[a-z0-9!#$%&'*+.^_|~-]+\Z"
_HEADER_OR_ALL: Final = r"^([A-Za-z0-9!#$%&'*+.^_`|~-]+|\*)\Z"
# What stands between two % is Envoy's to fill in, and Istio only counts them.
# Source: istio/istio:pkg/config/validation/agent/validation.go, ValidateHTTPHeaderValue.
_PLAIN: Final = r"[^%\x00-\x08\x0a-\x1f\x7f]*"
HEADER_VALUE: Final = rf"^{_PLAIN}(%{_PLAIN}%{_PLAIN})*\Z"
_SUBSET: Final = r"^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?\Z"
_NAMESPACE: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z"
_SCOPE: Final = r"^([.*]|[a-z0-9]([-a-z0-9]*[a-z0-9])?)\Z"
# A domain of at most 253 characters, and a name of at most 63.
# Source: kubernetes:staging/src/k8s.io/apimachinery/pkg/util/validation/validation.go, IsQualifiedName.
_DOMAIN: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_LABEL_KEY: Final = rf"^((?=[^/]{{1,253}}/){_DOMAIN}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?\Z"
_LABEL_VALUE: Final = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?\Z"
_MATCHES: Final = 256
# Source: istio/istio:pkg/config/validation/validation.go, supportedCORSMethods; pkg/util/grpc/codes.go.
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*")
_GRPC: Final = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)


def _object(description: str, required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": {name.rstrip("_"): schema for name, schema in properties.items()},
        "additionalProperties": False,
        **({"required": list(required)} if required else {}),
    }


def _one_of(description: str, **properties: Schema) -> Schema:
    return {**_object(description, (), **properties), "minProperties": 1, "maxProperties": 1}


def _text(description: str, limit: int = 1024, **more: Any) -> Schema:
    return {"type": "string", "description": description, "minLength": 1, "maxLength": limit, **more}


def _list(description: str, items: Schema, limit: int = 64) -> Schema:
    return {"type": "array", "description": description, "items": items, "minItems": 1, "maxItems": limit}


def _number(description: str, lowest: int, highest: int) -> Schema:
    return {"type": "integer", "description": description, "minimum": lowest, "maximum": highest}


def _map(description: str, keys: str, values: Schema, limit: int = 64) -> Schema:
    return {
        "type": "object",
        "description": description,
        "propertyNames": {"type": "string", "maxLength": 317, "pattern": keys},
        "additionalProperties": values,
        "maxProperties": limit,
    }


def _flag(description: str) -> Schema:
    return {"type": "boolean", "description": description}


def _duration(description: str) -> Schema:
    return _text(description, 32, pattern=_DURATION)


_STRING_MATCH: Final = _one_of(
    "How a text is compared: one of exact, prefix, regex.",
    exact=_text("The whole text."),
    prefix=_text("Its beginning."),
    regex=_text("An RE2 regular expression for the whole text.", format="re2"),
)
# A header, a parameter: `{}` means that it is there.
_PRESENT_OR_MATCH: Final = {**_STRING_MATCH, "minProperties": 0}
_HOST: Final = _text("A Service by its full host name.", 253)
_PERCENT: Final = _object(
    "A share of requests.",
    ("value",),
    value={"type": "number", "description": "Percent.", "minimum": 0, "maximum": 100},
)
_DESTINATION: Final = _object(
    "Where requests go.",
    ("host",),
    host=_HOST,
    subset=_text("A subset of the Service, which a DestinationRule names.", 63, pattern=_SUBSET),
    port=_object("The port.", ("number",), number=_number("Its number.", 1, 65535)),
)
_OPERATIONS: Final = _object(
    "What is done to headers.",
    set=_map("Headers to set.", _HEADER, _text("The value.", pattern=HEADER_VALUE)),
    add=_map("Headers to add.", _HEADER, _text("The value.", pattern=HEADER_VALUE)),
    remove=_list("Headers to remove.", _text("Its name.", 256, pattern=_HEADER)),
)
_HEADERS: Final = _object(
    "What is done to headers of requests and responses.", request=_OPERATIONS, response=_OPERATIONS
)
_MATCH: Final = _object(
    "When a rule applies: all that is said must hold.",
    name=_text("For people who read logs.", 253),
    uri=_STRING_MATCH,
    scheme=_STRING_MATCH,
    method=_STRING_MATCH,
    authority=_STRING_MATCH,
    headers=_map("Headers, in lower case.", _HEADER, _PRESENT_OR_MATCH),
    withoutHeaders=_map("Headers that must not be there, or not so.", _HEADER, _PRESENT_OR_MATCH),
    queryParams=_map("Parameters of the query.", r"^[^&=#\s]+\Z", _PRESENT_OR_MATCH),
    port=_number("The port of the Service that the client asked for.", 1, 65535),
    sourceNamespace=_text("The namespace of a caller with a sidecar.", 63, pattern=_NAMESPACE),
    sourceLabels=_map(
        "Labels of a caller with a sidecar.", _LABEL_KEY, {"type": "string", "maxLength": 63, "pattern": _LABEL_VALUE}
    ),
    gateways=_list("mesh.", _text("Its name.", 317)),
    ignoreUriCase=_flag("Whether upper and lower case of the path are the same."),
)
_RETRIES: Final = _object(
    "How often a request is tried again.",
    ("attempts",),
    attempts=_number("How often, at the most.", 0, 100),
    perTryTimeout=_duration("How long each try may take."),
    retryOn=_text("Envoy's conditions.", 256),
    retryRemoteLocalities=_flag("Whether other localities may be tried."),
)
_FAULT: Final = _object(
    "Trouble that is made on purpose.",
    delay=_object("A delay.", ("fixedDelay",), fixedDelay=_duration("How long."), percentage=_PERCENT),
    abort=_object(
        "An error.",
        httpStatus=_number("The HTTP status.", 200, 599),
        grpcStatus=_text("The gRPC status.", 32, enum=list(_GRPC)),
        percentage=_PERCENT,
    ),
)
_CORS: Final = _object(
    "Cross-origin requests.",
    allowOrigins=_list("Origins that are allowed.", _STRING_MATCH),
    allowMethods=_list("Methods that are allowed.", _text("Its name.", 32, enum=list(_METHODS))),
    allowHeaders=_list("Request headers that are allowed.", _text("Its name.", 256, pattern=_HEADER_OR_ALL)),
    exposeHeaders=_list("Response headers that scripts may see.", _text("Its name.", 256, pattern=_HEADER_OR_ALL)),
    maxAge=_text("How long the answer to a preflight is kept, in whole seconds.", 32, pattern=_SECONDS),
    allowCredentials=_flag("Whether cookies are sent."),
    unmatchedPreflights=_text(
        "What becomes of a preflight from elsewhere.", 32, enum=["UNSPECIFIED", "FORWARD", "IGNORE"]
    ),
)
_REWRITE: Final = _object(
    "What the copy sees instead.",
    uri=_text("The path, or the beginning that the match has."),
    authority=_text("The host header.", 253),
    uriRegexRewrite=_object(
        "The path, by a regular expression.",
        ("match", "rewrite"),
        match=_text("An RE2 regular expression.", format="re2"),
        rewrite=_text("What it is replaced by."),
    ),
)
_BODY: Final = {**_one_of("The body.", string=_text("As text.", 4096), bytes=_text("In Base64.", 8192))}
ANSWERS: Final = ("route", "redirect", "directResponse")
RULE: Final = {
    **_object(
        "One rule: when it applies, and what becomes of the request.",
        name=_text("For people who read Istio's logs.", 253),
        match=_list("Any one of these is enough; without it the rule takes every request.", _MATCH, _MATCHES),
        route=_list(
            "Where requests go; several share them by weight.",
            _object(
                "A destination.",
                ("destination",),
                destination=_DESTINATION,
                weight=_number("Its share, of the sum of all.", 0, 1_000_000),
                headers=_HEADERS,
            ),
        ),
        redirect=_object(
            "The client is sent elsewhere.",
            uri=_text("The path."),
            authority=_text("The host.", 253),
            scheme=_text("The scheme.", 16, enum=["http", "https"]),
            port=_number("The port.", 1, 65535),
            derivePort=_text("Which port.", 32, enum=["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"]),
            redirectCode={"type": "integer", "description": "The status.", "enum": [301, 302, 303, 307, 308]},
        ),
        directResponse=_object(
            "An answer without a destination.",
            ("status",),
            status=_number("The HTTP status.", 200, 599),
            body=_BODY,
        ),
        rewrite=_REWRITE,
        timeout=_duration("How long a request may take."),
        retries=_RETRIES,
        fault=_FAULT,
        mirror=_DESTINATION,
        mirrors=_list(
            "Services that get a copy of each request.",
            _object("One of them.", ("destination",), destination=_DESTINATION, percentage=_PERCENT),
        ),
        mirrorPercentage=_PERCENT,
        corsPolicy=_CORS,
        headers=_HEADERS,
    ),
    "oneOf": [{"required": [answer]} for answer in ANSWERS],
}
SPEC: Final = _object(
    "What the VirtualService says.",
    ("hosts", "http"),
    hosts=_list("The Service's own host.", _HOST, 16),
    gateways=_list("mesh.", _text("Its name.", 317)),
    exportTo=_list("Namespaces whose clients follow it.", _text("A namespace, or ., or *.", 63, pattern=_SCOPE)),
    http={**_list("The rules; Istio takes the first that matches.", RULE, RULES)},
)
VIRTUAL_SERVICE: Final = _object(
    "A VirtualService as a template may write it.",
    ("apiVersion", "kind", "spec"),
    apiVersion=_text("Any version; it is written as v1.", 64, pattern=r"^networking\.istio\.io/v[0-9a-z]+\Z"),
    kind={"type": "string", "description": "VirtualService.", "const": "VirtualService"},
    metadata=_object(
        "Its name, labels and annotations; the rest is the operator's.",
        name=_text("As the operator names it, or absent.", 253),
        namespace=_text("The Service's, or absent.", 63),
        labels=_map(
            "Labels of your own.", _LABEL_KEY, {"type": "string", "maxLength": 63, "pattern": _LABEL_VALUE}, 32
        ),
        annotations=_map("Annotations of your own.", _LABEL_KEY, {"type": "string", "maxLength": 4096}, 32),
    ),
    spec=SPEC,
)
DEVELOPER_ROUTES: Final = _list("The rules of one developer.", RULE, _MATCHES)


def strict(schema: Any) -> Any:
    """
    Return a schema of a CRD under which unknown fields are an error: the API server would let them pass, or drop them.

    What only Kubernetes understands is left out.
    """
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: {name: strict(part) for name, part in value.items()} if key == "properties" else strict(value)
        for key, value in schema.items()
        if not key.startswith("x-kubernetes-")
        and key not in ("format", "description", "nullable", "default", "pattern")
    }
    if schema.get("x-kubernetes-int-or-string"):
        kept.pop("type", None)
        kept.pop("anyOf", None)
    closed = schema.get("type") == "object" and "properties" in schema and "additionalProperties" not in schema
    if closed and not schema.get("x-kubernetes-preserve-unknown-fields"):
        kept["additionalProperties"] = False
    return kept
