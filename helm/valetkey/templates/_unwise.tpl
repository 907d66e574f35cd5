{{/* Values that Kubernetes would take, and that somebody would be sorry for. */}}
{{- define "valetkey.refuseUnwise" -}}
{{- include "valetkey.refuseUnrestricted" . -}}
{{- include "valetkey.refuseSecretsInEnv" . -}}
{{- include "valetkey.refuseStuckDrains" . -}}
{{- include "valetkey.refusePlainIssuers" . -}}
{{- $grace := default 10 (default dict .Values.config.server).grace_seconds -}}
{{- if le (float64 .Values.terminationGracePeriodSeconds) (addf .Values.preStopSeconds $grace) -}}
{{- fail (printf "terminationGracePeriodSeconds is %d: a pod would be killed while calls are under way; expected more than preStopSeconds (%d) and config.server.grace_seconds (%v) together" (int .Values.terminationGracePeriodSeconds) (int .Values.preStopSeconds) $grace) -}}
{{- end -}}
{{- end -}}

{{/* What of a security context the restricted profile of Pod Security refuses; nothing where it takes it. */}}
{{- define "valetkey.unrestricted" -}}
{{- $capabilities := default dict .capabilities -}}
{{- $added := without (default list $capabilities.add) "NET_BIND_SERVICE" -}}
{{- if .privileged }}privileged is true
{{- else if .allowPrivilegeEscalation }}allowPrivilegeEscalation is true
{{- else if $added }}capabilities.add has {{ join ", " $added }}
{{- else if and (hasKey $capabilities "drop") (not (has "ALL" $capabilities.drop)) }}capabilities.drop lacks ALL
{{- else if and (hasKey . "runAsNonRoot") (not .runAsNonRoot) }}runAsNonRoot is false
{{- else if eq (toString .runAsUser) "0" }}runAsUser is 0
{{- else if eq (toString (default dict .seccompProfile).type) "Unconfined" }}seccompProfile.type is Unconfined
{{- else if eq (toString .procMount) "Unmasked" }}procMount is Unmasked
{{- end -}}
{{- end -}}

{{- define "valetkey.refuseUnrestricted" -}}
{{- if not .Values.allowUnrestrictedPods -}}
{{- $contexts := dict "podSecurityContext" (include "valetkey.podSecurityContext" . | fromYaml) "securityContext" (include "valetkey.securityContext" . | fromYaml) -}}
{{- range $list, $containers := pick .Values "extraContainers" "extraInitContainers" -}}
{{- range $containers -}}
{{- $_ := set $contexts (printf "%s: %s: securityContext" $list .name) (default dict .securityContext) -}}
{{- end -}}
{{- end -}}
{{- range $where, $context := $contexts -}}
{{- with include "valetkey.unrestricted" $context -}}
{{- fail (printf "%s: %s, which Pod Security's restricted profile refuses and a broker that holds an organisation's keys does not need; leave it out, or set allowUnrestrictedPods=true if it has to be" $where .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "valetkey.refuseSecretsInEnv" -}}
{{- $lists := dict "extraEnv" .Values.extraEnv -}}
{{- range $list, $containers := pick .Values "extraContainers" "extraInitContainers" -}}
{{- range $containers -}}
{{- $_ := set $lists (printf "%s: %s: env" $list .name) (default list .env) -}}
{{- end -}}
{{- end -}}
{{- range $where, $variables := $lists -}}
{{- range $variables -}}
{{- $secret := and (regexMatch "(?i)(passw|passphrase|secret|token|credential|api_?key|access_?key|account_?key|private_?key|connection_?string)" .name) (not (regexMatch "(?i)_(file|path|dir|name|ttl|seconds|url|uri|audience)$" .name)) -}}
{{- if and .value (or $secret (regexMatch "://[^/@]*:[^/@]*@" (toString .value))) -}}
{{- fail (printf "%s: %s looks like a secret, and its value is in plain sight of everybody who may read the release or the pod; put it into a Secret, and give valueFrom.secretKeyRef instead of value" $where .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A budget that never lets a pod go stops every drain of its node. Shares are rounded up, as Kubernetes does. */}}
{{- define "valetkey.refuseStuckDrains" -}}
{{- $budget := .Values.podDisruptionBudget -}}
{{- if and $budget.enabled (include "valetkey.disruptable" .) -}}
{{- $pods := int (ternary .Values.autoscaling.minReplicas .Values.replicaCount .Values.autoscaling.enabled) -}}
{{- $least := toString $budget.minAvailable -}}
{{- $most := toString $budget.maxUnavailable -}}
{{- if and (eq $least "") (eq $most "") -}}
{{- fail "podDisruptionBudget.minAvailable and maxUnavailable are both empty; set one of them, or podDisruptionBudget.enabled=false" -}}
{{- end -}}
{{- if has $most (list "0" "0%" "00%" "000%") -}}
{{- fail (printf "podDisruptionBudget.maxUnavailable is %s: no pod could ever be evicted, and every drain of a node would hang; expected 1 or more" $most) -}}
{{- end -}}
{{- $kept := int (trimSuffix "%" $least) -}}
{{- if hasSuffix "%" $least }}{{ $kept = div (add (mul $pods $kept) 99) 100 }}{{ end -}}
{{- if and (ne $least "") (ge (int $kept) $pods) -}}
{{- fail (printf "podDisruptionBudget.minAvailable is %s, which is all of %d pods: none could ever be evicted, and every drain of a node would hang; expected fewer, or maxUnavailable=1 instead" $least $pods) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "valetkey.refusePlainIssuers" -}}
{{- $urls := dict -}}
{{- with .Values.callers.kubernetes -}}
{{- if .enabled -}}
{{- $urls = dict "callers.kubernetes.issuer" .issuer "callers.kubernetes.jwksUri" .jwksUri -}}
{{- end -}}
{{- end -}}
{{- range $index, $issuer := default list (default dict .Values.config.authn).oidc -}}
{{- range $name, $url := pick $issuer "issuer" "jwks_uri" -}}
{{- $_ := set $urls (printf "config.authn.oidc[%d].%s" $index $name) $url -}}
{{- end -}}
{{- end -}}
{{- range $where, $url := $urls -}}
{{- if hasPrefix "http://" (lower (toString $url)) -}}
{{- fail (printf "%s is %s: whoever is on the way could give the broker keys of their own, and be anybody; expected https://" $where $url) -}}
{{- end -}}
{{- end -}}
{{- end -}}
