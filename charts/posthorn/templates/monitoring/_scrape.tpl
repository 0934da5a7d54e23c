{{/* How a pod is scraped: (list VALUES). `namespace` of a destination's metrics is the destination's own: honorLabels keeps it. */}}
{{- define "posthorn.scrape" -}}
- port: admin
  path: /metrics
  honorLabels: true
  {{- with .interval }}
  interval: {{ . }}
  {{- end }}
  relabelings:
  - {sourceLabels: [__meta_kubernetes_pod_label_app_kubernetes_io_component], targetLabel: component}
{{- end }}

{{/* metadata of an object that something finds by labels: (list $ "posthorn-name" LABELS) */}}
{{- define "posthorn.monitoringMetadata" -}}
{{- $root := index . 0 -}}
{{- include "posthorn.metadata" (list $root "monitoring" (index . 1)) }}
{{- with index . 2 }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
