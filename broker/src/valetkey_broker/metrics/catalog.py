"""Every metric of the broker's own: its name, what kind it is, what it says, and its labels.

No principal, account or container is a label, and nothing that a caller can make up: methods are those of the API,
connectors those that are registered, and everything else is `other`. docs/metrics.md repeats this table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from valetkey_broker.observability.counters import Histogram

OTHER = "other"
"""The value of a label for what is not registered, or was not said."""


class Kind(Enum):
    """What Prometheus calls the type."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One row. A counter's name ends in `_total`."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


Reading = tuple[Metric, Sequence[str], float | Histogram]
"""A metric, the values of its labels in order, and what it is at."""

_METHOD, _CONNECTOR = "method", "connector"

REQUESTS = Metric(
    "valetkey_requests_total", Kind.COUNTER, "Calls that ended, by the gRPC status code.", (_METHOD, "code")
)
REFUSALS = Metric(
    "valetkey_request_errors_total",
    Kind.COUNTER,
    "Calls that failed, by the reason that callers are told; INTERNAL is a mistake of the broker.",
    (_METHOD, "reason"),
)
INTERNAL = Metric(
    "valetkey_internal_errors_total",
    Kind.COUNTER,
    "Calls that failed by a mistake of the broker; there from the start, so that the first one is an increase.",
)
SECONDS = Metric(
    "valetkey_request_seconds", Kind.HISTOGRAM, "How long calls took in the broker, without streams.", (_METHOD,)
)
ISSUED = Metric("valetkey_tokens_issued_total", Kind.COUNTER, "Tokens that were issued and recorded.", (_CONNECTOR,))
REFUSED = Metric(
    "valetkey_tokens_refused_total",
    Kind.COUNTER,
    "Tokens that were asked for and not issued, by the reason; the connector is the one asked for or found at fault.",
    (_CONNECTOR, "reason"),
)
CALLS = Metric("valetkey_open_calls", Kind.GAUGE, "Calls under way, streams included.")
STREAMS = Metric("valetkey_open_streams", Kind.GAUGE, "Streams of tokens that are open.")
SERVING = Metric("valetkey_serving", Kind.GAUGE, "1 while requests can be answered, as health says it, otherwise 0.")
CONNECTORS = Metric("valetkey_connectors", Kind.GAUGE, "Connectors that are registered.")
CREDENTIAL_OK = Metric(
    "valetkey_connector_credential_accepted",
    Kind.GAUGE,
    "0 while the cloud refuses the credential of a connector, 1 when it takes it; missing until it was asked.",
    (_CONNECTOR,),
)
KEY_AGE = Metric(
    "valetkey_delegation_key_age_seconds",
    Kind.GAUGE,
    "Age of the oldest user delegation key in use.",
    (_CONNECTOR,),
)
KEY_LEFT = Metric(
    "valetkey_delegation_key_remaining_seconds",
    Kind.GAUGE,
    "Life left of the user delegation key that ends first; renewed at half of its life if tokens are asked for.",
    (_CONNECTOR,),
)
LEFT_WITHOUT_ENTRA = Metric(
    "valetkey_issuing_left_without_entra_seconds",
    Kind.GAUGE,
    "How long tokens could go on being issued from the keys in memory if Entra and Azure went away now.",
    (_CONNECTOR,),
)
LEFT_WITHOUT_VAULT = Metric(
    "valetkey_issuing_left_without_vault_seconds",
    Kind.GAUGE,
    "How long tokens could go on being issued from memory if Vault went away now, or has gone already.",
)
VAULT_AGE = Metric("valetkey_vault_answer_age_seconds", Kind.GAUGE, "Time since Vault last answered the polling.")
VAULT_TOKEN = Metric(
    "valetkey_vault_token_remaining_seconds", Kind.GAUGE, "Life left of the broker's own Vault token; it is renewed."
)
LEDGER_OK = Metric("valetkey_ledger_writable", Kind.GAUGE, "1 while the ledger can be written, otherwise 0.")
LEDGER_QUEUE = Metric("valetkey_ledger_queue", Kind.GAUGE, "Records that wait to be written to the ledger.")
COMMIT_SECONDS = Metric(
    "valetkey_ledger_commit_seconds", Kind.HISTOGRAM, "How long one transaction of the ledger took, of many records."
)
SECRET_LEFT = Metric(
    "valetkey_connector_secret_remaining_seconds",
    Kind.GAUGE,
    "Time until the secret or certificate of a connector ends, where that is known; negative once it has.",
    (_CONNECTOR,),
)
CERTIFICATE_LEFT = Metric(
    "valetkey_server_certificate_remaining_seconds",
    Kind.GAUGE,
    "Time until the certificate that is served ends, the first one of its chain to end.",
)
CERTIFICATE_BAD = Metric(
    "valetkey_server_certificate_unusable",
    Kind.GAUGE,
    "1 while the server's certificate and key, as their files are now, cannot be used and the earlier pair is served.",
)
API_KEY_LEFT = Metric("valetkey_api_key_remaining_seconds", Kind.GAUGE, "Time until the next API key ends.")
TRUST_LEFT = Metric(
    "valetkey_trust_bundle_remaining_seconds",
    Kind.GAUGE,
    "Time until the CAs of a trust domain of client certificates end, the first domain of all.",
)
SECRET_ID_LEFT = Metric(
    "valetkey_vault_secret_id_remaining_seconds",
    Kind.GAUGE,
    "Time until the secret id ends with which the broker logs in to Vault; missing where it never does.",
)
ROTATIONS = Metric("valetkey_rotations_under_way", Kind.GAUGE, "Rotations of credentials that are not finished.")
LAG = Metric(
    "valetkey_event_loop_lag_seconds",
    Kind.HISTOGRAM,
    "How much later than asked for a timer of the event loop fires, tried every quarter of a second.",
)
BUILD = Metric("valetkey_build_info", Kind.GAUGE, "Always 1.", ("version",))

OF_WORKERS = (
    REQUESTS, REFUSALS, INTERNAL, SECONDS, ISSUED, REFUSED, CALLS, STREAMS, SERVING, CONNECTORS, CREDENTIAL_OK,
    KEY_AGE, KEY_LEFT, LEFT_WITHOUT_ENTRA, LEFT_WITHOUT_VAULT, VAULT_AGE, VAULT_TOKEN, LEDGER_OK, LEDGER_QUEUE,
    COMMIT_SECONDS, SECRET_LEFT, CERTIFICATE_LEFT, CERTIFICATE_BAD, API_KEY_LEFT, TRUST_LEFT, SECRET_ID_LEFT,
    ROTATIONS, LAG, BUILD,
)  # fmt: skip
"""Each worker tells these, and the process_* metrics of prometheus-client."""

WORKER_UP = Metric(
    "valetkey_worker_up",
    Kind.GAUGE,
    "1 where a worker answered this scrape, 0 where it is not there, starts, or hangs.",
)
WORKER_STARTS = Metric("valetkey_worker_starts_total", Kind.COUNTER, "How often a worker was started.")

OF_SUPERVISOR = (WORKER_UP, WORKER_STARTS)
"""Told of each worker by whoever serves the port."""
