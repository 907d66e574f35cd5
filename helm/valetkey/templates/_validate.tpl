{{/* What has to hold between values; a schema's own words for it are hard to read. */}}
{{- define "valetkey.validate" -}}
{{- $values := .Values -}}
{{- if not $values.vault.address -}}
{{- fail "vault.address is missing: give the address of your Vault or OpenBao, such as https://vault.example.com:8200" -}}
{{- end -}}
{{- if contains "@" $values.vault.address -}}
{{- fail "vault.address holds a user or a password, which values and ConfigMaps show to many; expected https://HOST:PORT, and vault.auth for the login" -}}
{{- end -}}
{{- if not (hasPrefix "https://" $values.vault.address) -}}
{{- fail (printf "vault.address is %s: the broker speaks to Vault over TLS only; expected https://HOST:PORT" $values.vault.address) -}}
{{- end -}}
{{- if and $values.metrics.enabled (eq (int $values.metrics.port) 8443) -}}
{{- fail "metrics.port is 8443, where the broker serves its callers; expected another one, such as 9464" -}}
{{- end -}}
{{- if and $values.callers.mtls.enabled (has (int $values.callers.mtls.port) (list 8443 (ternary (int $values.metrics.port) 0 $values.metrics.enabled))) -}}
{{- fail (printf "callers.mtls.port is %d, which the broker or its metrics have already; expected another one" (int $values.callers.mtls.port)) -}}
{{- end -}}
{{- if and $values.tls.existingSecret $values.tls.certificate.enabled -}}
{{- fail "tls.existingSecret and tls.certificate.enabled are both given: take the secret that is there, or have cert-manager make one" -}}
{{- end -}}
{{- if not (or $values.tls.existingSecret $values.tls.certificate.enabled) -}}
{{- fail "the broker serves over TLS only: give tls.existingSecret (a secret with tls.crt and tls.key), or tls.certificate.enabled=true with an issuer of cert-manager's" -}}
{{- end -}}
{{- if and $values.tls.certificate.enabled (not $values.tls.certificate.issuerRef.name) -}}
{{- fail "tls.certificate.issuerRef.name is missing: the Certificate needs an Issuer or ClusterIssuer" -}}
{{- end -}}
{{- if and $values.vault.ca.existingConfigMap $values.vault.ca.existingSecret -}}
{{- fail "vault.ca.existingConfigMap and vault.ca.existingSecret are both given; expected one" -}}
{{- end -}}
{{- if and (eq $values.vault.auth.method "approle") (not $values.vault.auth.approle.existingSecret) -}}
{{- fail "vault.auth.approle.existingSecret is missing: the method approle needs a secret with the role id and the secret id" -}}
{{- end -}}
{{- if and (ne $values.vault.auth.method "approle") (not $values.vault.auth.role) -}}
{{- fail (printf "vault.auth.role is missing: the method %s logs in for a role" $values.vault.auth.method) -}}
{{- end -}}
{{- if eq $values.ledger.type "postgres" -}}
{{- if not $values.ledger.postgres.existingSecret -}}
{{- fail "ledger.postgres.existingSecret is missing: put the URL, with its password, into a secret, and name that" -}}
{{- end -}}
{{- else -}}
{{- if or $values.ledger.postgres.existingSecret $values.ledger.migration.existingSecret -}}
{{- fail "two ledgers: ledger.type is sqlite, and a secret for PostgreSQL is given; expected ledger.type=postgres, or no secret" -}}
{{- end -}}
{{- if $values.autoscaling.enabled -}}
{{- fail "autoscaling needs ledger.type=postgres: a SQLite ledger is one file, which one pod alone may write" -}}
{{- end -}}
{{- if include "valetkey.several" . -}}
{{- fail (printf "replicaCount is %d: more than one pod needs ledger.type=postgres, for a SQLite ledger is one file, which one pod alone may write" (int $values.replicaCount)) -}}
{{- end -}}
{{- end -}}
{{- if and $values.autoscaling.enabled (gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is over autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and $values.callers.mtls.enabled (not $values.callers.mtls.trustDomains) -}}
{{- fail "callers.mtls.trustDomains is empty: name each trust domain and the ConfigMap with its CAs" -}}
{{- end -}}
{{- range $name, $bundle := $values.callers.mtls.trustDomains -}}
{{- if or (not (regexMatch "^[a-z0-9][a-z0-9._-]*$" $name)) (contains ".." $name) -}}
{{- fail (printf "callers.mtls.trustDomains.%s is no trust domain; expected lower-case letters, digits, ., _ and -, such as example.org" $name) -}}
{{- end -}}
{{- if not $bundle.existingConfigMap -}}
{{- fail (printf "callers.mtls.trustDomains.%s.existingConfigMap is missing: expected the ConfigMap with its CAs" $name) -}}
{{- end -}}
{{- end -}}
{{- if and $values.serviceMonitor.enabled (not $values.metrics.enabled) -}}
{{- fail "serviceMonitor.enabled without metrics.enabled: there is nothing to scrape" -}}
{{- end -}}
{{- if and (ne (toString $values.podDisruptionBudget.minAvailable) "") (ne (toString $values.podDisruptionBudget.maxUnavailable) "") -}}
{{- fail "podDisruptionBudget.minAvailable and maxUnavailable are both given; set the one that you do not want to \"\"" -}}
{{- end -}}
{{- range $section, $settings := dict "server" (dict "host" "" "port" "service.port" "tls_cert_file" "tls" "tls_key_file" "tls" "workers" "workers") "vault" (dict "address" "vault.address" "namespace" "vault.namespace" "mount" "vault.mount" "ca_file" "vault.ca" "auth" "vault.auth" "role" "vault.auth.role" "jwt_file" "vault.auth" "auth_mount" "vault.auth.mount" "role_id_file" "vault.auth.approle" "secret_id_file" "vault.auth.approle" "approle_mount" "vault.auth.mount") "ledger" (dict "url" "ledger.postgres.existingSecret" "url_file" "ledger.postgres.existingSecret") "authn" (dict "mtls" "callers.mtls") "metrics" (dict "host" "metrics" "port" "metrics.port") -}}
{{- range $name, $instead := $settings -}}
{{- if hasKey (default dict (get $values.config $section)) $name -}}
{{- fail (printf "config.%s.%s is the chart's own to say%s" $section $name (ternary (printf "; use %s" $instead) "" (ne $instead ""))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- include "valetkey.refuseUnwise" . -}}
{{- end -}}
