"""What whoever makes a grant should be told: that it gives more than it seems to, or nothing to anybody."""

from collections.abc import Collection, Sequence

from valetkey_broker.authz.compiled_grants import CompiledGrant
from valetkey_broker.model import OF_HIERARCHY, Connector, ContainerPattern, Grant, Permission, too_many, voucher

# So many containers that are not there are told one by one.
_TOLD = 5


def warnings_of(
    grant: Grant,
    connectors: Sequence[Connector],
    vouchers: Collection[str],
    now: float,
    unreached: Sequence[tuple[ContainerPattern, str]] = (),
) -> Sequence[str]:
    """Returns a sentence for each way in which a valid grant is hardly what was meant.

    `connectors` are those of the grant that are still there, `vouchers` whom the settings believe: `oidc:ISSUER`,
    `spiffe://TRUST-DOMAIN`. `now` is in Unix seconds. `unreached` are the grant's containers that none of its
    connectors reaches now, each with what may have been meant.
    """
    compiled = CompiledGrant(grant)
    told = []
    for pattern in grant.principals:
        if whom := too_many(pattern):
            but = ", unless the attributes say who" if grant.attributes else ""
            told.append(f"the principal {pattern.text} means {whom}{but}; name it more closely if it should not")
        by = voucher(pattern.text)
        if by and by not in vouchers:
            told.append(
                f"the principal {pattern.text} can be nobody: the broker's settings know no "
                f"{by.removeprefix('oidc:')}; compare character by character, slashes at the end included"
            )
    if grant.prefixes and grant.permissions.members == (Permission.LIST,):
        told.append(
            "the grant has paths and nothing but list, which single blobs know nothing of: on accounts without "
            "hierarchical namespace it lets nobody have anything"
        )
    if not grant.prefixes and not set(grant.permissions.members) - set(OF_HIERARCHY):
        told.append("move and execute alone are for directories and blobs: no token is for a whole container")
    if all(c.resource is not None and not compiled.admits_container(c.resource.key) for c in connectors):
        served = ", ".join(sorted({str(c.resource) for c in connectors}))
        why = f"its connectors serve {served}, none of its containers" if served else "its connectors are gone"
        told.append(f"{why}: it lets nobody have anything")
    else:
        told += of_unreached(unreached)
    if compiled.expires <= now:
        told.append("the grant has ended: it lets nobody have anything")
    return told


def of_unreached(unreached: Sequence[tuple[ContainerPattern, str]]) -> Sequence[str]:
    """Returns a sentence for each of the first few, and one for the rest."""
    told = []
    for pattern, near in unreached[:_TOLD]:
        if not pattern.exact:
            told.append(
                f"no container that its connectors reach now matches {pattern.text}; it means those that are made later"
            )
            continue
        meant = f", but {near}: change the grant if that was meant" if near else "; compare the name, or make it"
        told.append(f"its connectors reach no container {pattern.text} now{meant}")
    if len(unreached) > _TOLD:
        told.append(f"{len(unreached) - _TOLD} more of its containers are none that its connectors reach now")
    return told
