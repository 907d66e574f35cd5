"""`valetkey-broker check-config`: what is wrong with the settings and the ledger, found without starting."""

from pathlib import Path

import typer

from valetkey_broker.authn.trust_bundles import TrustBundles
from valetkey_broker.settings import check_certificate, load_settings


def print_configuration(config: Path) -> None:
    """Prints warnings, and what the settings amount to. Raises ConfigurationError where the broker could not start."""
    settings = load_settings(config)
    check_certificate(settings.server.tls_cert_file, settings.server.tls_key_file)
    mtls = settings.authn.mtls
    if mtls is not None:
        TrustBundles(mtls.trust_domains)
    # SQL comes in here, once the rest holds: it takes longer to load than all that stands above.
    from valetkey_broker.ledger import check_ledger  # noqa: PLC0415

    for warning in filter(None, [*settings.warnings(), check_ledger(settings.ledger)]):
        typer.echo(f"Warning: {warning}", err=True)
    cloud = settings.profiles()[settings.default_cloud]
    typer.echo(f"{config}: ok")
    typer.echo(f"  listens on   {settings.server.address}, {settings.server.workers} worker(s), TLS")
    issuers = settings.authn.oidc
    callers = ["API keys", *(f"{each.issuer}{' (valetkey login)' if each.login else ''}" for each in issuers)]
    if mtls is not None:
        callers += [f"spiffe://{name} on port {mtls.port}" for name in sorted(mtls.trust_domains)]
    typer.echo(f"  admits       {', '.join(callers)}")
    typer.echo(f"  metrics      {settings.metrics.address or 'not told; metrics.port is not set'}")
    typer.echo(f"  keeps state  {settings.vault.address}, mount {settings.vault.mount}")
    typer.echo(f"  clouds       {', '.join(sorted(settings.profiles()))} (default: {cloud.name})")
