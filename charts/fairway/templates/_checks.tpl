{{/*
What a schema cannot say, or not so that it helps: each message names the value and the way out.
*/}}
{{- define "fairway.check" -}}
{{- $values := .Values }}
{{- $says := list }}

{{- if not (regexMatch "^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$" $values.trustDomain) }}
{{- $says = append $says (printf "trustDomain: %q is not a SPIFFE trust domain; write lower-case letters, digits, dots, dashes and underscores, such as mesh.example.org (no spiffe://, no port)" $values.trustDomain) }}
{{- else if gt (len $values.trustDomain) 255 }}
{{- $says = append $says "trustDomain: it is longer than 255 characters; shorten it" }}
{{- end }}

{{- range $program := list "controller" "waypoint" "ztunnel" }}
{{- $image := (index $values $program).image }}
{{- if and $image.digest (not (regexMatch "^sha256:[0-9a-f]{64}$" $image.digest)) }}
{{- $says = append $says (printf "%s.image.digest: %q is not a digest; write sha256: and 64 hexadecimal digits, or leave it empty and set %s.image.tag" $program $image.digest $program) }}
{{- end }}
{{- if regexMatch ":[^/]*$|@" $image.repository }}
{{- $says = append $says (printf "%s.image.repository: %q has a tag or digest; write it in %s.image.tag or %s.image.digest" $program $image.repository $program $program) }}
{{- end }}
{{- end }}

{{- if not (regexMatch "^[A-Za-z0-9_:=,.\\[\\]{}-]+$" $values.logs.level) }}
{{- $says = append $says (printf "logs.level: %q is not a log filter; examples: info, debug, warn,fairway_controller=debug" $values.logs.level) }}
{{- end }}

{{- with $values.controller }}
{{- if and (not .serviceAccount.create) (not .serviceAccount.name) }}
{{- $says = append $says "controller.serviceAccount.name: with create=false it must name an account that is there; set it, or create=true" }}
{{- end }}
{{- range $key, $_ := .podLabels }}
{{- if has $key (list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component") }}
{{- $says = append $says (printf "controller.podLabels: %q is what the Deployment finds its pods by; take it out" $key) }}
{{- end }}
{{- end }}
{{- end }}

{{- range $key, $_ := $values.commonLabels }}
{{- if or (hasPrefix "app.kubernetes.io/" $key) (hasPrefix "helm.sh/" $key) }}
{{- $says = append $says (printf "commonLabels: %q is set by the chart; take it out" $key) }}
{{- end }}
{{- end }}

{{- range $name := list "gateway" "waypoint" }}
{{- $reference := (index $values.gatewayClasses $name).parametersRef }}
{{- if and $reference (not (and $reference.name $reference.namespace)) }}
{{- $says = append $says (printf "gatewayClasses.%s.parametersRef: it needs a name and a namespace; set both, or leave it empty" $name) }}
{{- end }}
{{- end }}

{{- if $says }}
{{- fail (printf "\n\n  %s\n" (join "\n  " $says)) }}
{{- end }}
{{- end }}
