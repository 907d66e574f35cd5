"""Errors of what the broker depends on: the cloud, Vault and the ledger."""

from valetkey_broker.errors.base import BrokerError, Reason

CLOUD_REASONS = frozenset(
    {
        Reason.CLOUD_CREDENTIAL_REJECTED,
        Reason.CLOUD_PERMISSION_MISSING,
        Reason.CLOUD_REQUEST_REFUSED,
        Reason.CLOUD_THROTTLED,
        Reason.CLOUD_UNAVAILABLE,
        Reason.RESOURCE_NOT_FOUND,
    }
)


CLOUD_REFUSALS = frozenset(
    {Reason.CLOUD_CREDENTIAL_REJECTED, Reason.CLOUD_PERMISSION_MISSING, Reason.CLOUD_REQUEST_REFUSED}
)
"""With these the cloud answered, and said no."""


class UnrecordedOutcomeError(BrokerError):
    """A change was made; that it was begun is on record, that it was made is not."""


class _AccountNotSearchedError(BrokerError):
    def public(self) -> BrokerError:
        error = super().public()
        error.metadata.pop("account", None)
        return error


def cloud_error(
    reason: Reason,
    message: str,
    *,
    step: str,
    connector: str,
    account: str = "",
    azure_code: str = "",
    retry_after: float | None = None,
    public_message: str | None = None,
    mend: str = "",
) -> BrokerError:
    """The cloud refused a step, or did not answer; `reason` is one of CLOUD_REASONS. `retry_after` is in seconds.

    `mend` is what an operator can do about it, as in BrokerError.
    """
    if reason not in CLOUD_REASONS:
        raise ValueError(f"{reason.name} is no reason of the cloud's")
    fields = {"step": step, "azure_code": azure_code, "account": account, "connector": connector}
    metadata = {name: value for name, value in fields.items() if value}
    return BrokerError(reason, message, metadata, retry_after=retry_after, public_message=public_message, mend=mend)


def cloud_timeout(connector: str, seconds: float) -> BrokerError:
    """The cloud took longer than the settings allow for all steps together."""
    return BrokerError(
        Reason.CLOUD_UNAVAILABLE,
        f"Azure did not answer connector {connector} within {seconds:g} s; try again",
        {"connector": connector, "cause": "timeout"},
        retry_after=5.0,
    )


def cloud_undefined(connector: str, cloud: str, known: str) -> BrokerError:
    """A connector names a cloud that the settings no longer define; `known` lists those they do."""
    return BrokerError(
        Reason.INVALID_FIELD,
        f"Connector {connector} names the cloud {cloud}, which the broker's settings do not define; they know {known}. "
        "Define it under [clouds], or register the connector with another.",
        {"connector": connector, "field": "azure.cloud"},
        public_message=f"the cloud of connector {connector} is not set up; tell those who run the broker",
    )


def implicit_not_allowed(connector: str, source: str, cloud: str) -> BrokerError:
    """The settings no longer let connectors use what the broker itself is in Azure."""
    return BrokerError(
        Reason.INVALID_FIELD,
        f"Connector {connector} uses the broker's {source}, which the settings do not allow. Name it in "
        f"clouds.{cloud}.implicit_sources, or register the connector with another auth method.",
        {"connector": connector, "field": "azure.implicit_source"},
        public_message=f"connector {connector} is not allowed by the broker's settings; tell those who run the broker",
    )


def implicit_not_set_up(connector: str, source: str, why: str) -> BrokerError:
    """The broker's surroundings do not offer what a connector uses; `why` goes on a sentence."""
    return BrokerError(
        Reason.INVALID_FIELD,
        f"Connector {connector} uses the broker's {source}, which is not set up where the broker runs: {why}.",
        {"connector": connector, "field": "azure.implicit_source"},
        public_message=f"connector {connector} cannot log in where the broker runs; tell those who run the broker",
    )


def account_not_searched(error: BrokerError) -> BrokerError:
    """One of several accounts could not be looked through; of which accounts there are only operators are told."""
    public = error.public_message or (
        "not all storage accounts of the connector could be looked through; try again, or tell those who run the broker"
    )
    return _AccountNotSearchedError(
        error.reason, error.message, error.metadata, retry_after=error.retry_after, public_message=public
    )


def connector_not_looked_at(connector: str, *, alone: bool) -> BrokerError:
    """A listing ended before it came to a connector, or before the cloud answered; `alone`, there was no other."""
    why = "for the cloud is slow; list again" if alone else "as many were listed at once; list again, or it alone"
    return cloud_error(
        Reason.CLOUD_UNAVAILABLE,
        f"connector {connector} was not looked at in time, {why}",
        step="list containers",
        connector=connector,
    )


def token_refused(connector: str, account: str) -> BrokerError:
    """Storage does not accept a token that was signed with a key it gave just now."""
    return BrokerError(
        Reason.CLOUD_CREDENTIAL_REJECTED,
        f"Storage account {account} refuses tokens signed with the key that it gave just now. Check the broker's "
        "clock, and that the account's policies allow SAS tokens.",
        {"step": "use a token", "connector": connector, "account": account},
    )


def namespace_unknown(connector: str, step: str, account: str) -> BrokerError:
    """Storage does not say whether an account has a hierarchical namespace, and nothing is signed on a guess."""
    return cloud_error(
        Reason.CLOUD_REQUEST_REFUSED,
        f"Storage account {account} does not say whether it has a hierarchical namespace, so no token can be given "
        "that needs one. Ask for single blobs or the container.",
        step=step,
        connector=connector,
        account=account,
        public_message=f"storage account {account} does not say whether it has directories; ask for single blobs",
    )


def discovery_unsupported(connector: str, step: str, cloud: str, why: str) -> BrokerError:
    """Storage accounts cannot be looked for: the cloud, or the auth method, does not allow it. `why` goes on so."""
    return BrokerError(
        Reason.INVALID_FIELD,
        f"Cloud {cloud} {why}, so storage accounts cannot be found. Name a storage account in connector {connector}.",
        {"step": step, "connector": connector},
        public_message=f"connector {connector} cannot look for storage accounts; ask with the container's full URL",
    )


def resource_manager_not_asked(connector: str, step: str, why: str) -> BrokerError:
    """What only Azure Resource Manager knows of an account cannot be had; `why` is a sentence without its end."""
    return BrokerError(
        Reason.INVALID_FIELD,
        f"Azure Resource Manager, which knows them, is not asked: {why}",
        {"step": step, "connector": connector},
        public_message=f"connector {connector} cannot tell how its storage accounts are set",
    )


def graph_not_asked(connector: str, step: str, why: str) -> BrokerError:
    """Microsoft Graph, which makes secrets of applications, cannot be asked; `why` is a sentence without its end."""
    return BrokerError(
        Reason.INVALID_FIELD,
        f"Microsoft Graph, which makes them, cannot be asked through connector {connector}: {why}",
        {"step": step, "connector": connector, "field": "by"},
        public_message=f"connector {connector} cannot make secrets",
    )


def account_not_seen(connector: str, step: str, account: str) -> BrokerError:
    """Azure Resource Manager shows a connector no storage account of that name."""
    return cloud_error(
        Reason.RESOURCE_NOT_FOUND,
        f"Connector {connector} sees no storage account {account}. Assign the role Reader at the account to its "
        "identity, or name another connector.",
        step=step,
        connector=connector,
        account=account,
    )


def answer_without_credential(connector: str, step: str) -> BrokerError:
    """Azure answered, and what it was asked for is not in the answer: whether it was made, nobody knows."""
    text = f"Cannot {step}: the answer could not be understood. Try again later."
    return cloud_error(Reason.CLOUD_UNAVAILABLE, text, step=step, connector=connector)


def vault_unavailable(message: str, cause: str, *, retry_after: float | None = None) -> BrokerError:
    """Vault is away, or refuses the broker; `cause` is one word or two for programs, `retry_after` is in seconds."""
    return BrokerError(Reason.VAULT_UNAVAILABLE, message, {"cause": cause}, retry_after=retry_after)


def vault_away_too_long(limit: float) -> BrokerError:
    """Memory is older than the settings allow, which is `limit` seconds."""
    message = f"Vault has been away for longer than the broker may go on without it ({limit:g} s)"
    return vault_unavailable(message, "stale", retry_after=10.0)


def credential_missing(connector: str, version: int, secret: str = "") -> BrokerError:
    """Vault does not hold the credential that the connector names, or the named secret that it uses."""
    what = f"the secret {secret}, which connector {connector} uses" if secret else f"the credential of {connector}"
    remedy = (
        f"give it its value again: valetkey secret update {secret}"
        if secret
        else f"give it its secret again: valetkey service-connector update {connector} --client-secret @FILE"
    )
    return BrokerError(
        Reason.VAULT_UNAVAILABLE,
        f"Vault holds no version {version} of {what}; {remedy}",
        {"connector": connector, "cause": "not found"},
        public_message="the connector's credential is gone from the broker's store; tell those who run the broker",
    )


def ledger_unavailable(cause: str, why: str) -> BrokerError:
    """The ledger cannot be written or read: `cause` for programs, `why` as part of a sentence for people."""
    message = f"the ledger cannot be used: {why}; nothing is issued until it can"
    return BrokerError(Reason.LEDGER_UNAVAILABLE, message, {"cause": cause}, retry_after=1.0)


def change_refused_unrecorded() -> BrokerError:
    """The ledger is known to be away, so a change is refused before anything is tried."""
    message = "the ledger cannot be written, so nothing is changed; see the broker's log, and try again"
    return BrokerError(Reason.LEDGER_UNAVAILABLE, message, {"cause": "unhealthy"}, retry_after=5.0)


def begin_not_recorded(changed: str, error: BrokerError) -> BrokerError:
    """A change was not made, since recording its begin raised `error`; `changed` names the object."""
    message = f"{changed} was not changed, since that could not be recorded beforehand: {error.message}"
    return error.reworded(message)


def outcome_not_recorded(changed: str, error: BrokerError) -> UnrecordedOutcomeError:
    """A change was made, and recording that raised `error`; `changed` names the object."""
    return UnrecordedOutcomeError(
        error.reason,
        f"the change of {changed} was made; that it was begun is on record, its outcome is not: {error.message}",
        {**error.metadata, "change": "made"},
        retry_after=error.retry_after,
    )
