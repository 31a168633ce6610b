#!/bin/sh
# health.sh USER KEY ADDRESS [PORT]   asks a probe over NETCONF for its health (ONAP R-31809), and says it
# For after an instantiation, a scaling or a healing. Wants OpenSSH's client. The host key is remembered at the first time.
# Ends with 0 when it is healthy, 1 when it is not, 2 when it does not answer.
if [ $# -lt 3 ] || [ $# -gt 4 ]; then
	echo "usage: health.sh USER KEY ADDRESS [PORT]" >&2
	exit 2
fi
said=$({
	printf '%s' '<hello xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"><capabilities>' \
		'<capability>urn:ietf:params:netconf:base:1.0</capability></capabilities></hello>]]>]]>'
	printf '%s' '<rpc xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="1">' \
		'<health-check xmlns="urn:supernetflow:yang:snf-function"/></rpc>]]>]]>'
	printf '%s' '<rpc xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="2"><close-session/></rpc>]]>]]>'
} | ssh -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=accept-new -o ConnectTimeout=30 \
	-i "$2" -p "${4:-830}" -s "$1@$3" netconf)
# A line for each element that is asked for, in their order.
values() {
	printf '%s' "$said" | tr -d '\n' | sed 's/<\/[^>]*>/&\n/g' | sed -n "s/.*<\([a-z]*:\)\{0,1\}$1[^>]*>\([^<]*\)<\/.*/\2/p"
}
case $(values state) in
healthy)
	echo "$3 is healthy."
	;;
unhealthy)
	echo "$3 is not healthy:"
	values text
	exit 1
	;;
*)
	why=$(values error-message)
	echo "$3 does not say whether it is healthy${why:+: $why}" >&2
	exit 2
	;;
esac
