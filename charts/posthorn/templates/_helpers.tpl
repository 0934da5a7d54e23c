{{/* Labels of every object, without its component. */}}
{{- define "posthorn.labels" -}}
app.kubernetes.io/name: posthorn
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Labels that find the pods of a component. They never change: a selector cannot. */}}
{{- define "posthorn.selector" -}}
app.kubernetes.io/name: posthorn
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* metadata of an object of a component: (list $ "ingest" "posthorn-ingest") */}}
{{- define "posthorn.metadata" -}}
{{- $root := index . 0 -}}
name: {{ index . 2 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "posthorn.labels" $root | nindent 2 }}
  app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Reference to an image: its digest, or its tag. (dict "image" .Values.image "tag" .Chart.AppVersion) */}}
{{- define "posthorn.imageOf" -}}
{{- if .image.digest }}{{ .image.repository }}@{{ .image.digest }}{{ else }}{{ .image.repository }}:{{ .image.tag | default .tag }}{{ end }}
{{- end }}

{{- define "posthorn.image" -}}
{{- include "posthorn.imageOf" (dict "image" .Values.image "tag" .Chart.AppVersion) }}
{{- end }}

{{/* posthorn.yaml */}}
{{- define "posthorn.settings" -}}
buses:
  {{- toYaml (.Values.buses | default dict) | nindent 2 }}
{{- end }}

{{/* The Secret that holds a role's address of Redis, as `secretKeyRef`: (list $ "ingest") */}}
{{- define "posthorn.redisSecret" -}}
{{- $values := (index . 0).Values.redis -}}
{{- $own := index ($values.external.users | default dict) (index . 1) | default dict -}}
{{- if $values.bundled.enabled -}}
{name: {{ $values.bundled.existingSecret | default "posthorn-redis" }}, key: url}
{{- else if $own.urlSecret -}}
{name: {{ $own.urlSecret.name }}, key: {{ $own.urlSecret.key | default "url" }}}
{{- else if $values.external.urlSecret.name -}}
{name: {{ $values.external.urlSecret.name }}, key: {{ $values.external.urlSecret.key }}}
{{- else -}}
{name: posthorn-redis, key: url}
{{- end }}
{{- end }}

{{- define "posthorn.redisCA" -}}
{{- if not .Values.redis.bundled.enabled }}{{ .Values.redis.external.tls.caSecret.name }}{{ end }}
{{- end }}

{{/* Environment of a command that works with Redis as a role does: (list $ "ingest") */}}
{{- define "posthorn.commandEnv" -}}
{{- $root := index . 0 -}}
{{- $own := index $root.Values (index . 1) -}}
- name: POSTHORN_REDIS_URL
  valueFrom: {secretKeyRef: {{ include "posthorn.redisSecret" . }}}
{{- if include "posthorn.redisCA" $root }}
- {name: POSTHORN_REDIS_CA, value: /etc/posthorn/redis-ca/ca.crt}
{{- end }}
- {name: POSTHORN_CONFIG, value: /etc/posthorn/posthorn.yaml}
- {name: POSTHORN_LOG_FORMAT, value: {{ $root.Values.log.format }}}
- {name: POSTHORN_LOG, value: {{ $own.log | default $root.Values.log.filter | quote }}}
{{- end }}

{{/* Environment that every role has: (list $ "ingest") */}}
{{- define "posthorn.env" -}}
{{- $root := index . 0 -}}
{{- include "posthorn.commandEnv" . }}
- {name: POSTHORN_ADMIN_LISTEN, value: {{ printf "%s:9090" $root.Values.listenAddress | quote }}}
{{- with (index $root.Values (index . 1)).extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Files that every role has. posthorn.yaml is mounted by itself, so that folders can be mounted beside it. */}}
{{- define "posthorn.volumeMounts" -}}
- {name: config, mountPath: /etc/posthorn/posthorn.yaml, subPath: posthorn.yaml, readOnly: true}
{{- if include "posthorn.redisCA" . }}
- {name: redis-ca, mountPath: /etc/posthorn/redis-ca, readOnly: true}
{{- end }}
{{- range .Values.busSecrets }}
- {name: bus-{{ . }}, mountPath: /etc/posthorn/redis/{{ . }}, readOnly: true}
{{- end }}
{{- end }}

{{- define "posthorn.volumes" -}}
- name: config
  configMap: {name: posthorn-config}
{{- with include "posthorn.redisCA" . }}
- name: redis-ca
  secret: {secretName: {{ . }}, items: [{key: {{ $.Values.redis.external.tls.caSecret.key }}, path: ca.crt}]}
{{- end }}
{{- range .Values.busSecrets }}
- name: bus-{{ . }}
  secret: {secretName: {{ . }}}
{{- end }}
{{- end }}

{{/* A changed posthorn.yaml starts the pods again: it is read at the start only. */}}
{{- define "posthorn.checksum" -}}
checksum/config: {{ include "posthorn.settings" . | sha256sum }}
{{- end }}

{{/* Where pods may run: (list VALUES COMPONENT) */}}
{{- define "posthorn.scheduling" -}}
{{- $own := index . 0 -}}
{{- $component := index . 1 -}}
{{- with $own.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  {{- $preset := dict "labelSelector" (dict "matchLabels" (include "posthorn.selector" $component | fromYaml)) }}
  - {{ toYaml (merge (deepCopy .) $preset) | nindent 4 | trim }}
  {{- end }}
{{- end }}
{{- with $own.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* metadata of the pods of a role: (list $ "ingest") */}}
{{- define "posthorn.podMetadata" -}}
{{- $root := index . 0 -}}
{{- $own := index $root.Values (index . 1) -}}
annotations:
  {{- include "posthorn.checksum" $root | nindent 2 }}
  {{- if eq (index . 1) "operator" }}
  # the operator reads it at its start, and rolls the workers
  checksum/worker-template: {{ include "posthorn.workerTemplate" $root | sha256sum }}
  {{- end }}
  {{- with $own.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
labels:
  {{- include "posthorn.labels" $root | nindent 2 }}
  app.kubernetes.io/component: {{ index . 1 }}
  {{- with $own.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* What the pod of every role has: (list $ "ingest") */}}
{{- define "posthorn.podSpec" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
serviceAccountName: posthorn-{{ $role }}
enableServiceLinks: false
securityContext:
  {{- toYaml $root.Values.podSecurityContext | nindent 2 }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- include "posthorn.scheduling" (list (index $root.Values $role) $role) }}
{{- end }}

{{/* What the container of every role has: (list $ "ingest") */}}
{{- define "posthorn.container" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
- name: {{ $role }}
  image: {{ include "posthorn.image" $root }}
  imagePullPolicy: {{ $root.Values.image.pullPolicy }}
  command: [posthorn, {{ $role }}]
  securityContext:
    {{- toYaml $root.Values.containerSecurityContext | nindent 4 }}
  livenessProbe:
    httpGet: {path: /livez, port: admin}
    periodSeconds: 10
    timeoutSeconds: 5
  readinessProbe:
    httpGet: {path: /readyz, port: admin}
    periodSeconds: 3
    timeoutSeconds: 5
  {{- with (index $root.Values $role).resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "posthorn.podDisruptionBudget" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- with (index $root.Values $role).pdb }}
{{- if .enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "posthorn.metadata" (list $root $role (printf "posthorn-%s" $role)) | nindent 2 }}
spec:
  maxUnavailable: {{ .maxUnavailable }}
  selector:
    matchLabels:
      {{- include "posthorn.selector" $role | nindent 6 }}
{{- end }}
{{- end }}
{{- end }}

{{/* A text, or a number without an exponent: one of a values file is a float, and a large one would be written with it. */}}
{{- define "posthorn.number" -}}
{{- if kindIs "string" . }}{{ . }}{{ else }}{{ int64 . }}{{ end }}
{{- end }}

{{/* A size as Kubernetes writes it (768Mi, 1.5Gi, 1e9), in bytes. */}}
{{- define "posthorn.bytes" -}}
{{- if kindIs "string" . -}}
{{- $units := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 -}}
{{- mulf (regexFind "^[0-9.]+([eE][0-9]+)?" . | float64) (index $units (regexFind "([kMGTP]|[KMGTP]i)?$" .) | float64) | int64 -}}
{{- else -}}
{{- int64 . -}}
{{- end -}}
{{- end }}

{{/* Ports of Redis servers outside the release: those of the values, and those that addresses in the values name. */}}
{{- define "posthorn.redisPorts" -}}
{{- $ports := list -}}
{{- range .Values.networkPolicy.redisPorts }}{{ $ports = append $ports (toString (int .)) }}{{ end -}}
{{- $addresses := list .Values.redis.external.url -}}
{{- range .Values.buses }}{{ $addresses = append $addresses (dig "redis" "url" "" (. | default dict)) }}{{ end -}}
{{- range compact $addresses -}}
{{- $ports = append $ports (regexFind ":[0-9]+([/?]|$)" . | trimAll ":/?" | default "6379") -}}
{{- end -}}
{{- range uniq $ports }}
- {port: {{ . }}, protocol: TCP}
{{- end }}
{{- end }}

{{/* Something, if `helm test` can work: its destination must be allowed to read the bus. */}}
{{- define "posthorn.testable" -}}
{{- $bus := (.Values.buses | default dict).default | default dict -}}
{{- if has .Release.Namespace (dig "allowedNamespaces" (list .Release.Namespace) $bus) }}x{{ end }}
{{- end }}
