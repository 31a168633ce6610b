{{- define "snf.name" -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | replace (printf "%s-%s" .Chart.Name .Chart.Name) .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "snf.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "snf.configMap" -}}
{{- .Values.configuration.existingConfigMap | default (printf "%s-startup" (include "snf.name" .)) -}}
{{- end -}}

{{- define "snf.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{/* The least memory of all, as `snf memory` computes it (nf/apply/memory.py), in MiB: 1.25 times the sum of
  48 MB and 300 MB, 16 MB for each eight processors beyond the first, 912 bytes a flow, 482 bytes a session, 8,064
  bytes for the delays of each 256 sessions, 16 to 1,024 times, and 120 MB a shard when there are several; rounded up to 64 MiB. */}}
{{- define "snf.memory" -}}
{{- $l := .Values.limits -}}
{{- $rings := mul 16000000 (sub (div (add (int64 $l.processors) 7) 8) 1) -}}
{{- $shards := ternary (mul 120000000 (int64 $l.shards)) 0 (gt (int64 $l.shards) 1) -}}
{{- $delays := mul 8064 (min 1024 (max 16 (div (int64 $l.sessions) 256))) -}}
{{- $sum := add 348000000 $rings $shards $delays (mul 912 (int64 $l.flows)) (mul 482 (int64 $l.sessions)) -}}
{{- mul 64 (div (add (div (mul $sum 5) 4) 67108863) 67108864) -}}
{{- end -}}

{{- define "snf.user" -}}
{{- if .Values.runAsNonRoot -}}
runAsNonRoot: true
runAsUser: 64830
runAsGroup: 64830
{{- else -}}
runAsUser: 0
{{- end -}}
{{- end -}}

{{/* Folders of the node. */}}
{{- define "snf.folders" -}}
- name: state
  mountPath: /var/lib/supernetflow
  {{- if ne .Values.state.type "hostPath" }}
  subPathExpr: $(NODE_NAME)
  {{- end }}
- name: run
  mountPath: /run/supernetflow
- name: bpf
  mountPath: /sys/fs/bpf
{{- end -}}

{{/* The annotation of Multus. */}}
{{- define "snf.networks" -}}
{{- $all := list -}}
{{- range .Values.network.multus -}}
{{- $one := dict "name" .name "namespace" (.namespace | default $.Release.Namespace) "interface" .interface -}}
{{- if .mac -}}{{- $one = set $one "mac" .mac -}}{{- end -}}
{{- $all = append $all $one -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{/* What no schema can say. */}}
{{- define "snf.check" -}}
{{- if not .Values.keys.existingSecret -}}
{{- fail "keys.existingSecret is empty: make the keys and a Secret of them, as deploy/kubernetes/README.md says, and give its name." -}}
{{- end -}}
{{- if and .Values.configuration.startup .Values.configuration.existingConfigMap -}}
{{- fail "configuration.startup and configuration.existingConfigMap are both given: give one of them." -}}
{{- end -}}
{{- if not (or .Values.configuration.startup .Values.configuration.existingConfigMap) -}}
{{- fail "There is no configuration: --set-file configuration.startup=FILE, or name a ConfigMap with startup.xml by configuration.existingConfigMap." -}}
{{- end -}}
{{- if and (eq .Values.network.mode "multus") (not .Values.network.multus) -}}
{{- fail "network.multus is empty: name the attachments that carry traffic, or set network.mode to host." -}}
{{- end -}}
{{- if and (eq .Values.network.mode "host") .Values.network.multus -}}
{{- fail "network.multus has attachments and network.mode is host: a pod on the network of its node gets none. Set network.mode to multus." -}}
{{- end -}}
{{- $seen := dict -}}
{{- range .Values.network.multus -}}
{{- if hasKey $seen .interface -}}
{{- fail (printf "Two attachments of network.multus have the interface %s: give each a name of its own." .interface) -}}
{{- end -}}
{{- $_ := set $seen .interface true -}}
{{- if and .mac (hasKey $seen (lower .mac)) -}}
{{- fail (printf "Two attachments of network.multus have the address %s: give each its own." .mac) -}}
{{- end -}}
{{- if .mac -}}{{- $_ := set $seen (lower .mac) true -}}{{- end -}}
{{- end -}}
{{- if and (eq .Values.state.type "persistentVolumeClaim") (not .Values.state.claim) -}}
{{- fail "state.claim is empty: name a claim that all nodes may write, or set state.type to hostPath." -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (eq .Values.network.mode "host") -}}
{{- fail "networkPolicy.enabled needs network.mode multus: no NetworkPolicy holds for a pod on the network of its node. Set netconf.address to an address that only managers reach." -}}
{{- end -}}
{{- if and .Values.runAsNonRoot (ne .Values.state.type "hostPath") -}}
{{- fail "runAsNonRoot needs state.type hostPath: the owner of a claim's folder is the claim's matter." -}}
{{- end -}}
{{- if eq (int .Values.netconf.port) (int .Values.feed.port) -}}
{{- fail "netconf.port and feed.port are one port: give each its own." -}}
{{- end -}}
{{- if has (int .Values.feed.snapshotPort) (list (int .Values.netconf.port) (int .Values.feed.port)) -}}
{{- fail "feed.snapshotPort is netconf.port or feed.port: give each its own, or 0 for no snapshots." -}}
{{- end -}}
{{- if hasKey (.Values.resources.requests | default dict) "memory" -}}
{{- fail "resources.requests.memory cannot be given: it is the limit of memory, which follows from limits.flows, limits.sessions and limits.shards." -}}
{{- end -}}
{{- if hasKey (.Values.resources.limits | default dict) "memory" -}}
{{- fail "resources.limits.memory cannot be given: it follows from limits.flows, limits.sessions and limits.shards." -}}
{{- end -}}
{{- if .Values.serviceMonitor.enabled -}}
{{- fail "serviceMonitor.enabled cannot be: the function has no endpoint of metrics. The collector has one (collector.enabled), on the port metrics of its Service." -}}
{{- end -}}
{{- with .Values.configuration.startup -}}
{{- if not (regexMatch "<([a-zA-Z0-9_-]+:)?config[ \\t\\r\\n>]" .) -}}
{{- fail "configuration.startup is no configuration of the function: its element is config, as in yang/examples." -}}
{{- end -}}
{{/* What is told here is in a ConfigMap, which more people read than a Secret. */}}
{{- with regexFind "<(secret-key|key|previous-key)>[^@<][^<]*</" . -}}
{{- fail (printf "configuration.startup has a secret in <%s>: put the key into the Secret, and its place here, as @publisher-secret@ and @pseudonyms@ in yang/examples." (regexFind "[a-z-]+" .)) -}}
{{- end -}}
{{- range $.Values.network.multus -}}
{{- if not (or (contains (printf ">%s<" .interface) $.Values.configuration.startup) (and .mac (contains (lower .mac) (lower $.Values.configuration.startup)))) -}}
{{- fail (printf "network.multus gives the pod the interface %s, and the configuration has none of this name: give both one name." .interface) -}}
{{- end -}}
{{- end -}}
{{- if and $.Values.service.enabled (regexMatch "<endpoint>tcp://(127\\.|\\[::1\\]|localhost)" .) -}}
{{- fail "The configuration has its endpoint on the loopback address, where nobody from outside of the pod comes: write tcp://*:PORT, or set service.enabled to false." -}}
{{- end -}}
{{- if and $.Values.feed.snapshotPort (contains "<endpoint>" .) (not (contains "<snapshot-endpoint>" .)) -}}
{{- fail (printf "feed.snapshotPort is %d, and the configuration has no snapshot-endpoint: write one, or set it to 0." (int $.Values.feed.snapshotPort)) -}}
{{- end -}}
{{- $endpoints := regexFindAll "<endpoint>[^<]*</endpoint>" . -1 -}}
{{- if and $endpoints (not (regexMatch (printf "<endpoint>[^<]*:%d</endpoint>" (int $.Values.feed.port)) .)) -}}
{{- fail (printf "feed.port is %d, and the configuration has %s: give the port of its endpoint." (int $.Values.feed.port) (first $endpoints)) -}}
{{- end -}}
{{- $asked := regexFindAll "<snapshot-endpoint>[^<]*</snapshot-endpoint>" . -1 -}}
{{- if and $asked (not (regexMatch (printf "<snapshot-endpoint>[^<]*:%d</snapshot-endpoint>" (int $.Values.feed.snapshotPort)) .)) -}}
{{- fail (printf "feed.snapshotPort is %d, and the configuration has %s: give the port of its endpoint of snapshots." (int $.Values.feed.snapshotPort) (first $asked)) -}}
{{- end -}}
{{- range $leaf := list "flows" "sessions" "shards" -}}
{{- $said := regexFind (printf "<%s>[0-9]+</%s>" $leaf $leaf) $.Values.configuration.startup | regexFind "[0-9]+" -}}
{{- $here := get $.Values.limits $leaf | int64 -}}
{{/* What the configuration does not say is the default of the function (nf/settings.py). */}}
{{- $default := get (dict "flows" 131072 "sessions" 65536 "shards" 1) $leaf | int64 -}}
{{- if and (not $said) (ne $default $here) -}}
{{- fail (printf "limits.%s is %d and the configuration has none, which means %d: give one number in both, as the limit of memory follows from it." $leaf $here $default) -}}
{{- end -}}
{{- if and $said (ne (int64 $said) $here) -}}
{{- fail (printf "limits.%s is %d and the configuration has %s: give one number in both, as the limit of memory follows from it." $leaf $here $said) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Of the collector. */}}
{{- define "snf.collectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-collector
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "snf.collectorImage" -}}
{{- printf "%s:%s" .Values.collector.image.repository (.Values.collector.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{- define "snf.noRights" -}}
privileged: false
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "snf.checkCollector" -}}
{{- $c := .Values.collector -}}
{{- if not $c.from -}}
{{- fail "collector.from is empty: name the functions by their endpoints, as tcp://NODE:5556." -}}
{{- end -}}
{{- if not $c.keys.existingSecret -}}
{{- fail "collector.keys.existingSecret is empty: make a Secret of the files NAME.curve of collector.from, and give its name." -}}
{{- end -}}
{{- $seen := dict -}}
{{- range $c.from -}}
{{- if hasKey $seen .endpoint -}}
{{- fail (printf "collector.from has %s twice: give each function once." .endpoint) -}}
{{- end -}}
{{- $_ := set $seen .endpoint true -}}
{{- end -}}
{{- end -}}
