{{/* broker.toml: what the values say, and config over it. */}}
{{- define "valetkey.config" -}}
{{- $values := .Values -}}
{{- $server := dict "host" "0.0.0.0" "port" 8443 "tls_cert_file" "/etc/valetkey/tls/tls.crt" "tls_key_file" "/etc/valetkey/tls/tls.key" "workers" $values.workers -}}
{{- $vault := dict "address" $values.vault.address "mount" $values.vault.mount "auth" $values.vault.auth.method -}}
{{- if $values.vault.namespace }}{{ $_ := set $vault "namespace" $values.vault.namespace }}{{ end -}}
{{- if or $values.vault.ca.existingConfigMap $values.vault.ca.existingSecret -}}
{{- $_ := set $vault "ca_file" (printf "/etc/valetkey/vault-ca/%s" $values.vault.ca.key) -}}
{{- end -}}
{{- if eq $values.vault.auth.method "approle" -}}
{{- $_ := set $vault "role_id_file" (printf "/etc/valetkey/vault-login/%s" $values.vault.auth.approle.roleIdKey) -}}
{{- $_ := set $vault "secret_id_file" (printf "/etc/valetkey/vault-login/%s" $values.vault.auth.approle.secretIdKey) -}}
{{- with $values.vault.auth.mount }}{{ $_ := set $vault "approle_mount" . }}{{ end -}}
{{- else -}}
{{- $_ := set $vault "role" $values.vault.auth.role -}}
{{- $_ := set $vault "jwt_file" "/var/run/secrets/valetkey/vault-token" -}}
{{- with $values.vault.auth.mount }}{{ $_ := set $vault "auth_mount" . }}{{ end -}}
{{- end -}}
{{- $ledger := dict "url" "sqlite:////var/lib/valetkey/ledger.db" -}}
{{- if eq $values.ledger.type "postgres" -}}
{{- $ledger = dict "url_file" (printf "/etc/valetkey/ledger/%s" $values.ledger.postgres.key) -}}
{{- end -}}
{{- $authn := dict -}}
{{- $oidc := list -}}
{{- with $values.callers.kubernetes -}}
{{- if .enabled -}}
{{- $issuer := dict "issuer" .issuer "audience" .audience "attributes" .attributes -}}
{{- if .jwksUri -}}
{{- $_ := set $issuer "jwks_uri" .jwksUri -}}
{{- $_ := set $issuer "ca_file" "/var/run/secrets/valetkey/ca.crt" -}}
{{- $_ := set $issuer "bearer_token_file" "/var/run/secrets/valetkey/api-token" -}}
{{- end -}}
{{- $oidc = append $oidc $issuer -}}
{{- end -}}
{{- end -}}
{{- $given := deepCopy $values.config -}}
{{- $oidc = concat $oidc (default list ($given.authn).oidc) -}}
{{- if $oidc }}{{ $_ := set $authn "oidc" $oidc }}{{ end -}}
{{- if $values.callers.mtls.enabled -}}
{{- $domains := dict -}}
{{- range $name, $bundle := $values.callers.mtls.trustDomains -}}
{{- $_ := set $domains $name (printf "/etc/valetkey/trust/%s/%s" $name (default "bundle.pem" $bundle.key)) -}}
{{- end -}}
{{- $_ := set $authn "mtls" (dict "port" $values.callers.mtls.port "trust_domains" $domains) -}}
{{- end -}}
{{- $made := dict "server" $server "vault" $vault "ledger" $ledger -}}
{{- if $authn }}{{ $_ := set $made "authn" $authn }}{{ end -}}
{{- if $values.metrics.enabled }}{{ $_ := set $made "metrics" (dict "host" "0.0.0.0" "port" $values.metrics.port) }}{{ end -}}
{{- if $given.authn }}{{ $_ := set $given "authn" (omit $given.authn "oidc") }}{{ end -}}
{{- mergeOverwrite $made $given | toToml -}}
{{- end -}}
