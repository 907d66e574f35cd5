{{- define "valetkey.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* A Service's name begins with a letter; a release's need not. Room is left for what is added to it. */}}
{{- define "valetkey.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := .Values.fullnameOverride -}}
{{- if not $full -}}
{{- $full = ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- end -}}
{{- if regexMatch "^[0-9]" $full }}{{ $full = printf "vk-%s" $full }}{{ end -}}
{{- $full | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "valetkey.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* Every label is quoted: a release may be called y, no or 1e3. The component tells pods that serve from others. */}}
{{- define "valetkey.selectorLabels" -}}
app.kubernetes.io/name: {{ include "valetkey.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: "broker"
{{- end -}}

{{- define "valetkey.labels" -}}
app.kubernetes.io/name: {{ include "valetkey.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- range $name, $value := .Values.commonLabels }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* metadata of an object: dict "root" $ "name" NAME "namespace" NS "labels" MORE "annotations" MAP */}}
{{- define "valetkey.metadata" -}}
name: {{ .name | quote }}
namespace: {{ default (include "valetkey.namespace" .root) .namespace | quote }}
labels:
  {{- include "valetkey.labels" .root | nindent 2 }}
  {{- range $name, $value := .labels }}
  {{ $name }}: {{ $value | quote }}
  {{- end }}
{{- with .annotations }}
annotations:
  {{- range $name, $value := . }}
  {{ $name }}: {{ $value | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "valetkey.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "valetkey.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "valetkey.image" -}}
{{- $registry := default .Values.image.registry (.Values.global).imageRegistry -}}
{{- $name := ternary (printf "%s/%s" $registry .Values.image.repository) .Values.image.repository (ne (toString $registry) "") -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $name .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "valetkey.pullSecrets" -}}
{{- with concat (default list (.Values.global).imagePullSecrets) .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ if kindIs "map" . }}{{ .name | quote }}{{ else }}{{ . | quote }}{{ end }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The restricted profile of Pod Security, for every pod of this chart. */}}
{{- define "valetkey.podSecurityContext" -}}
{{- $hard := dict "runAsNonRoot" true "runAsUser" 10001 "runAsGroup" 10001 "fsGroup" 10001 "fsGroupChangePolicy" "OnRootMismatch" "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- mergeOverwrite $hard (deepCopy .Values.podSecurityContext) | toYaml -}}
{{- end -}}

{{- define "valetkey.securityContext" -}}
{{- $hard := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- mergeOverwrite $hard (deepCopy .Values.securityContext) | toYaml -}}
{{- end -}}

{{- define "valetkey.tlsSecret" -}}
{{- default (printf "%s-tls" (include "valetkey.fullname" .)) .Values.tls.existingSecret -}}
{{- end -}}

{{- define "valetkey.claim" -}}
{{- default (printf "%s-ledger" (include "valetkey.fullname" .)) .Values.ledger.sqlite.existingClaim -}}
{{- end -}}

{{/* "true" where there may be more than one pod. */}}
{{- define "valetkey.several" -}}
{{- if .Values.autoscaling.enabled -}}
{{- if gt (int .Values.autoscaling.maxReplicas) 1 }}true{{ end -}}
{{- else if gt (int .Values.replicaCount) 1 -}}
true
{{- end -}}
{{- end -}}

{{/* "true" where a PodDisruptionBudget leaves a pod that may go. */}}
{{- define "valetkey.disruptable" -}}
{{- $least := ternary .Values.autoscaling.minReplicas .Values.replicaCount .Values.autoscaling.enabled -}}
{{- if gt (int $least) 1 }}true{{ end -}}
{{- end -}}

{{- define "valetkey.probe" -}}
{{/* Said by the command itself before Kubernetes ends it, whose own default is one second. */ -}}
{{- $seconds := int (default 1 .probe.timeoutSeconds) -}}
{{- $command := list "valetkey-broker" "health" "--timeout" (ternary (toString (sub $seconds 1)) "0.5" (gt $seconds 1)) -}}
{{- if .live }}{{ $command = append $command "--live" }}{{ end -}}
{{- $given := omit .probe "exec" -}}
{{- $own := or (hasKey .probe "exec") (hasKey .probe "httpGet") (hasKey .probe "tcpSocket") (hasKey .probe "grpc") -}}
{{- ternary .probe (merge (dict "exec" (dict "command" $command)) $given) $own | toYaml -}}
{{- end -}}
