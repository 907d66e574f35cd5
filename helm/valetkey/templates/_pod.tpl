{{/* What migrating needs: the settings and the database. No token of the pod's, nothing of Vault's, no key. */}}
{{- define "valetkey.migrationMounts" -}}
- name: config
  mountPath: /etc/valetkey/config
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- if .Values.ledger.migration.existingSecret }}
- name: ledger-owner
  mountPath: /etc/valetkey/ledger-owner
  readOnly: true
{{- else }}
{{ include "valetkey.ledgerMount" . }}
{{- end }}
{{- include "valetkey.ledgerCaMount" . }}
{{- with .Values.ledger.migration.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "valetkey.ledgerMount" -}}
- name: ledger
{{- if eq .Values.ledger.type "postgres" }}
  mountPath: /etc/valetkey/ledger
  readOnly: true
{{- else }}
  mountPath: /var/lib/valetkey
{{- end }}
{{- end -}}

{{- define "valetkey.ledgerCaMount" -}}
{{- if and (eq .Values.ledger.type "postgres") .Values.ledger.postgres.ca.existingConfigMap }}
- name: ledger-ca
  mountPath: /etc/valetkey/ledger-ca
  readOnly: true
{{- end }}
{{- end -}}

{{- define "valetkey.mounts" -}}
- name: config
  mountPath: /etc/valetkey/config
  readOnly: true
- name: tls
  mountPath: /etc/valetkey/tls
  readOnly: true
- name: identity
  mountPath: /var/run/secrets/valetkey
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- if or .Values.vault.ca.existingConfigMap .Values.vault.ca.existingSecret }}
- name: vault-ca
  mountPath: /etc/valetkey/vault-ca
  readOnly: true
{{- end }}
{{- if eq .Values.vault.auth.method "approle" }}
- name: vault-login
  mountPath: /etc/valetkey/vault-login
  readOnly: true
{{- end }}
{{ include "valetkey.ledgerMount" . }}
{{- include "valetkey.ledgerCaMount" . }}
{{- if .Values.callers.mtls.enabled }}
{{- range $name, $bundle := .Values.callers.mtls.trustDomains }}
- name: {{ printf "trust-%s" (sha256sum $name | trunc 8) | quote }}
  mountPath: {{ printf "/etc/valetkey/trust/%s" $name | quote }}
  readOnly: true
{{- end }}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Whole folders, never single files of them: those would not follow a renewal. */}}
{{- define "valetkey.volumes" -}}
- name: config
  configMap:
    name: {{ include "valetkey.fullname" . | quote }}
- name: tls
  secret:
    secretName: {{ include "valetkey.tlsSecret" . | quote }}
    defaultMode: 0440
- name: identity
  projected:
    defaultMode: 0440
    sources:
      {{- if .Values.callers.kubernetes.enabled }}
      # Of the API server's own audience: it gives its keys to no other.
      - serviceAccountToken:
          path: api-token
          expirationSeconds: 3600
      {{- end }}
      {{- if ne .Values.vault.auth.method "approle" }}
      - serviceAccountToken:
          path: vault-token
          expirationSeconds: 3600
          audience: {{ .Values.vault.auth.audience | quote }}
      {{- end }}
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
- name: tmp
  emptyDir:
    medium: Memory
    sizeLimit: 64Mi
{{- if .Values.vault.ca.existingConfigMap }}
- name: vault-ca
  configMap:
    name: {{ .Values.vault.ca.existingConfigMap | quote }}
{{- else if .Values.vault.ca.existingSecret }}
- name: vault-ca
  secret:
    secretName: {{ .Values.vault.ca.existingSecret | quote }}
    defaultMode: 0440
    items:
      - key: {{ .Values.vault.ca.key | quote }}
        path: {{ .Values.vault.ca.key | quote }}
{{- end }}
{{- if eq .Values.vault.auth.method "approle" }}
- name: vault-login
  secret:
    secretName: {{ .Values.vault.auth.approle.existingSecret | quote }}
    defaultMode: 0440
{{- end }}
{{- if eq .Values.ledger.type "postgres" }}
- name: ledger
  secret:
    secretName: {{ .Values.ledger.postgres.existingSecret | quote }}
    defaultMode: 0440
    # The one key: the owner's URL may stand beside it.
    items:
      - key: {{ .Values.ledger.postgres.key | quote }}
        path: {{ .Values.ledger.postgres.key | quote }}
{{- if .Values.ledger.postgres.ca.existingConfigMap }}
- name: ledger-ca
  configMap:
    name: {{ .Values.ledger.postgres.ca.existingConfigMap | quote }}
{{- end }}
{{- if .Values.ledger.migration.existingSecret }}
- name: ledger-owner
  secret:
    secretName: {{ .Values.ledger.migration.existingSecret | quote }}
    defaultMode: 0440
    items:
      - key: {{ .Values.ledger.migration.key | quote }}
        path: {{ .Values.ledger.migration.key | quote }}
{{- end }}
{{- else }}
- name: ledger
  persistentVolumeClaim:
    claimName: {{ include "valetkey.claim" . | quote }}
{{- end }}
{{- if .Values.callers.mtls.enabled }}
{{- range $name, $bundle := .Values.callers.mtls.trustDomains }}
- name: {{ printf "trust-%s" (sha256sum $name | trunc 8) | quote }}
  configMap:
    name: {{ $bundle.existingConfigMap | quote }}
{{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
