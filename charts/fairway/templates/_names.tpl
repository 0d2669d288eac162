{{/* The name objects begin with: the release's, with the chart's unless it is in there already. */}}
{{- define "fairway.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* The controller's Deployment and what goes with it. */}}
{{- define "fairway.controller" -}}
{{ include "fairway.fullname" . }}-controller
{{- end }}

{{/* Names of objects that belong to no namespace, of which there may be one a release. */}}
{{- define "fairway.clusterName" -}}
{{ include "fairway.controller" . }}-{{ .Release.Namespace }}
{{- end }}

{{- define "fairway.serviceAccountName" -}}
{{- with .Values.controller.serviceAccount }}
{{- if .create }}
{{- .name | default (include "fairway.controller" $) }}
{{- else }}
{{- .name }}
{{- end }}
{{- end }}
{{- end }}

{{/* What finds the controller's pods; it can never change. */}}
{{- define "fairway.controller.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end }}

{{/* Labels of every object. */}}
{{- define "fairway.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: fairway
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Labels of the controller's objects. */}}
{{- define "fairway.controller.labels" -}}
{{ include "fairway.labels" . }}
app.kubernetes.io/component: controller
{{- end }}

{{/* A program's image. Takes a dict: context, program (a section of the values). */}}
{{- define "fairway.image" -}}
{{- $of := (index .context.Values .program).image }}
{{- $all := .context.Values.image }}
{{- $name := $of.repository }}
{{- with $of.registry | default $all.registry }}{{ $name = printf "%s/%s" (trimSuffix "/" .) $name }}{{ end }}
{{- if $of.digest -}}
{{ $name }}@{{ $of.digest }}
{{- else -}}
{{ $name }}:{{ $of.tag | default $all.tag | default .context.Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "fairway.pullPolicy" -}}
{{ (index .context.Values .program).image.pullPolicy | default .context.Values.image.pullPolicy }}
{{- end }}

{{/* What finds the tunnels' pods; it can never change. */}}
{{- define "fairway.ztunnel.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: ztunnel
{{- end }}

{{/* Labels of the tunnels' objects. */}}
{{- define "fairway.ztunnel.labels" -}}
{{ include "fairway.labels" . }}
app.kubernetes.io/component: ztunnel
{{- end }}

{{/* What holds both containers of the tunnels' pods in, beside capabilities. */}}
{{- define "fairway.ztunnel.confinement" -}}
privileged: false
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
# The runtime's own profiles let nobody look at processes or files of the node.
appArmorProfile:
  type: Unconfined
seLinuxOptions:
  type: spc_t
{{- end }}
