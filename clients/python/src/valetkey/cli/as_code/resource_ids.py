"""Containers by one spelling, so that two that mean the same compare as equal."""


def canonical_resource(text: str) -> tuple[str, str]:
    """Returns a container's id as the broker writes it, `az://CONTAINER`, and the account that a full URL names."""
    scheme, _, rest = text.partition("://")
    if not rest:
        return (f"az://{text.strip('/')}" if text else ""), ""
    if scheme == "https":
        host, _, path = rest.partition("/")
        return f"az://{path.strip('/')}", host.partition(".")[0]
    if scheme in ("abfs", "abfss", "wasb", "wasbs") and "@" in rest:
        container, _, host = rest.partition("@")
        return f"az://{container}", host.partition(".")[0]
    # Other types of resources have schemes of their own.
    known = scheme in ("az", "azure", "abfs")
    return f"{'az' if known else scheme}://{rest.strip('/')}", ""
