# What the Valet Key broker may do in Vault or OpenBao, and nothing else.
#
# Written for a KV v2 engine of its own, mounted at `valetkey`. With another mount, change the
# first part of every path that begins with it. Give the broker's role `token_no_default_policy`:
# the broker needs nothing of the default policy.

# Connectors: the broker reads them at its start and after each change, and writes them for admins.
# `create` is a path's first version, `update` each later one; both under check-and-set.
path "valetkey/data/connectors/*" {
  capabilities = ["create", "read", "update"]
}

# Credentials: the long-lived secrets, one version for each rotation.
path "valetkey/data/credentials/*" {
  capabilities = ["create", "read", "update"]
}

# Named secrets: what connectors share. What may be told of them, and apart from it their values, by uid.
path "valetkey/data/secrets/*" {
  capabilities = ["create", "read", "update"]
}

path "valetkey/data/shared-credentials/*" {
  capabilities = ["create", "read", "update"]
}

# Rotations: how a connector or a named secret comes to another credential, step by step, and apart from it the
# credential that is not in use yet.
path "valetkey/data/rotations/*" {
  capabilities = ["create", "read", "update"]
}

path "valetkey/data/rotation-credentials/*" {
  capabilities = ["create", "read", "update"]
}

# API keys: only hashes of them are kept.
path "valetkey/data/api-keys/*" {
  capabilities = ["create", "read", "update"]
}

# Grants: who may have what.
path "valetkey/data/grants/*" {
  capabilities = ["create", "read", "update"]
}

# Revocations: what was taken back, how far that is, and who lifted it.
path "valetkey/data/revocations/*" {
  capabilities = ["create", "read", "update"]
}

# The counter of changes, with its short journal: how replicas hear of each other's writes.
path "valetkey/data/generation" {
  capabilities = ["create", "read", "update"]
}

# A copy of connectors, API keys and grants in few entries, which lets a start with thousands of them take seconds.
path "valetkey/data/snapshot/*" {
  capabilities = ["create", "read", "update"]
}

# Names (`list`) and version numbers (`read`). Metadata holds no secrets. No `update` and no
# `delete`: version numbers stay used, so that no credential version ever means two secrets.
path "valetkey/metadata/connectors/*" {
  capabilities = ["list", "read"]
}

path "valetkey/metadata/credentials/*" {
  capabilities = ["list", "read"]
}

path "valetkey/metadata/secrets/*" {
  capabilities = ["list", "read"]
}

path "valetkey/metadata/shared-credentials/*" {
  capabilities = ["list", "read"]
}

path "valetkey/metadata/rotations/*" {
  capabilities = ["list", "read"]
}

path "valetkey/metadata/rotation-credentials/*" {
  capabilities = ["list", "read"]
}

path "valetkey/metadata/api-keys/*" {
  capabilities = ["list", "read"]
}

path "valetkey/metadata/grants/*" {
  capabilities = ["list", "read"]
}

path "valetkey/metadata/revocations/*" {
  capabilities = ["list", "read"]
}

path "valetkey/metadata/snapshot/*" {
  capabilities = ["read"]
}

path "valetkey/metadata/generation" {
  capabilities = ["read"]
}

# Deleting for good: the data of given versions is gone, for whoever holds Vault's storage too.
# A soft delete would only hide a secret; the broker may not even ask for one.
path "valetkey/destroy/connectors/*" {
  capabilities = ["update"]
}

path "valetkey/destroy/credentials/*" {
  capabilities = ["update"]
}

path "valetkey/destroy/shared-credentials/*" {
  capabilities = ["update"]
}

path "valetkey/destroy/rotation-credentials/*" {
  capabilities = ["update"]
}

path "valetkey/destroy/api-keys/*" {
  capabilities = ["update"]
}

path "valetkey/destroy/snapshot/*" {
  capabilities = ["update"]
}

# The broker's own token: keep it alive, and give it back at the end.
path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/revoke-self" {
  capabilities = ["update"]
}

# When the broker's own secret id ends, so that it can say so in time. Only who has a secret id can ask for it. Not
# needed for anything else; where AppRole is mounted elsewhere, change the path.
path "auth/approle/role/+/secret-id/lookup" {
  capabilities = ["update"]
}

# What the broker looks at when it starts, to say what is wrong before that hurts: what this very policy lets it do,
# and whether the engine deletes old versions by their age, which would take credentials in use away.
path "sys/capabilities-self" {
  capabilities = ["update"]
}

path "valetkey/config" {
  capabilities = ["read"]
}
