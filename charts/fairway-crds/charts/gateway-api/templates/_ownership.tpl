{{/*
Who, other than this release, owns an object that is in the cluster; empty when it is ours, or not there.
Takes a dict: object (what lookup returned), release.
*/}}
{{- define "gateway-api.foreignOwner" -}}
{{- if .object }}
{{- $annotations := .object.metadata.annotations | default dict }}
{{- $name := get $annotations "meta.helm.sh/release-name" }}
{{- $namespace := get $annotations "meta.helm.sh/release-namespace" }}
{{- $manager := get (.object.metadata.labels | default dict) "app.kubernetes.io/managed-by" }}
{{- if and $name (eq $manager "Helm") }}
{{- if not (and (eq $name .release.Name) (eq $namespace .release.Namespace)) -}}
the Helm release {{ $namespace }}/{{ $name }}
{{- end }}
{{- else if $manager -}}
{{ $manager }}
{{- else -}}
{{- $writer := "somebody" }}
{{- range .object.metadata.managedFields }}
{{- if not .subresource }}{{ $writer = .manager }}{{ end }}
{{- end -}}
{{ $writer }}
{{- end }}
{{- end }}
{{- end }}

{{/*
What the cluster has of an object, by lookup; nothing in `helm template`.
*/}}
{{- define "gateway-api.inCluster" -}}
{{ lookup .apiVersion .kind "" .metadata.name | default dict | toJson }}
{{- end }}

{{/*
The objects of the wanted channel, as a JSON list. Takes the chart's context.
*/}}
{{- define "gateway-api.objects" -}}
{{- $objects := list }}
{{- range $path, $_ := .Files.Glob (printf "files/%s/*.yaml" .Values.channel) }}
{{- if or $.Values.safeUpgrades (not (contains "_vap_" $path)) }}
{{- range $document := splitList "\n---\n" ($.Files.Get $path) }}
{{- $objects = append $objects (fromYaml $document) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $objects }}
{{- end }}

{{/*
The kind that the notes speak of, as JSON: the first that is somebody else's, or the first that is there. Takes a dict: chart, release.
*/}}
{{- define "gateway-api.shown" -}}
{{- $foreign := dict }}
{{- $there := dict }}
{{- range $object := include "gateway-api.objects" .chart | fromJsonArray }}
{{- $found := include "gateway-api.inCluster" $object | fromJson }}
{{- if not $there }}{{ $there = $found }}{{ end }}
{{- if and (not $foreign) (include "gateway-api.foreignOwner" (dict "object" $found "release" $.release)) }}{{ $foreign = $found }}{{ end }}
{{- end }}
{{- $foreign | default $there | toJson }}
{{- end }}
