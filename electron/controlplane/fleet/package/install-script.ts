// What a machine runs that nobody may log in to: the same programs as by SSH, in one script that its own root starts with
// what was printed for it. It holds no value: server, pin, token and name come as arguments.
import { machineRoot } from './machine-paths.ts';
import { placement, type Program } from './placement.ts';

const steps = {
  check_runtime: placement.checkRuntime,
  place_runtime: placement.placeRuntime,
  check_agent: placement.checkAgent,
  place_agent: placement.placeAgent,
  use_agent: placement.use,
  place_unit: placement.placeUnit,
  join_cluster: placement.join,
  start_agent: placement.start,
} as const satisfies Readonly<Record<string, Program>>;

/**
 * A script that was cut off does nothing: its last line starts it. \`pin\`: as curl's --pinnedpubkey takes it. That
 * it is the right server is known by its key, not by an authority.
 */
const body = `set -eu
add_machine() {
refuse() { echo "This machine was not added: $1" >&2; exit 1; }
[ $# = 4 ] || refuse "the line is not whole; copy all of it"
server=$1 pin=$2 token=$3 node=$4
[ "$(id -u)" = 0 ] || refuse "it takes root (sudo)"
command -v systemctl > /dev/null || refuse "it has no systemd"
case $(uname -m) in
  x86_64) architecture=x64 ;;
  aarch64) architecture=arm64 ;;
  *) refuse "its processor ($(uname -m)) is none of x86_64 and aarch64" ;;
esac
setting() { sed -n "s/^$1=//p" ${machineRoot}/settings 2>/dev/null || :; }
known=$(setting FLOTILLA_NODE_NAME) discovery=$(setting FLOTILLA_DISCOVERY)
# Where the home is told of apps' names: on the interface of the way out.
way_out() { while read -r name to rest; do [ "$to" = 00000000 ] && echo "$name" && break; done < /proc/net/route || :; }
[ -n "$discovery" ] || [ $discovers = no ] || discovery=$(way_out)
[ -z "$known" ] || [ "$known" = "$node" ] || refuse "it is the node $known already, and would not become $node; take it out first: sudo ${machineRoot}/current/programs/remove"
[ "$(getconf LONG_BIT)" = 64 ] || refuse "its system is a 32-bit one; install the 64-bit one"
get() {
  printf 'header = "Authorization: Bearer %s"\\n' "$token" |
    curl --config - --fail --silent --show-error --insecure --pinnedpubkey "$pin" "$server/flotilla/machines/$1"
}
kubeconfig=$(get kubeconfig) || refuse "the cluster did not answer, or the token is not good any more: make a new line"
authority() { sed -n 's/.*"certificate-authority-data": "\\([^"]*\\)".*/\\1/p'; }
own=$(cat ${machineRoot}/state/kubeconfig 2>/dev/null | authority)
[ -z "$own" ] || [ "$own" = "$(printf '%s\\n' "$kubeconfig" | authority)" ] || refuse "it belongs to another cluster, as its node $known; take it out there first: sudo ${machineRoot}/current/programs/remove"
is_joined() { [ "$known" = "$node" ] && [ -n "$own" ] && systemctl is-active --quiet flotilla-agent.service; }
if is_joined; then echo "This machine is the node $node of the cluster already."; return 0; fi
package=$(get "package?architecture=$architecture") || refuse "the cluster did not answer, or the token is not good any more: make a new line"
part() { printf '%s\\n' "$package" | sed -n "s/^$1 \\([0-9a-f]*\\) .*/\\1/p"; }
runtime=$(part runtime) agent=$(part agent)
short_runtime=$(printf %.12s "$runtime") short_agent=$(printf %.12s "$agent")
if [ "$(check_runtime "$short_runtime")" != done ]; then
  echo "Copying Node ..."
  get "files/$runtime" | place_runtime "$runtime" > /dev/null
fi
if [ "$(check_agent "$short_agent" "$short_runtime")" != done ]; then
  echo "Copying the agent ..."
  get "files/$agent" | place_agent "$agent" "$short_runtime" > /dev/null
fi
use_agent "$short_agent" > /dev/null
place_unit > /dev/null
printf '%s\\n' "$kubeconfig" | join_cluster "$node" "\${discovery:-off}" > /dev/null
start_agent > /dev/null
tries=0
until [ -s ${machineRoot}/state/kubeconfig ]; do
  tries=$((tries + 1))
  [ $tries -le 60 ] || refuse "its agent runs, and the cluster has not taken it: was this line used before? Make a new line; journalctl -u flotilla-agent tells more"
  sleep 1
done
echo "This machine is the node $node of the cluster."
}
add_machine "$@"
`;

/** `isDiscovering`: whether machines are to tell the home of themselves and of apps' names. */
export function installScript(isDiscovering: boolean): string {
  const functions = Object.entries(steps).map(([name, { text }]) => `${name}() (\n${text})\n`);
  const setting = `discovers=${isDiscovering ? 'yes' : 'no'}\n`;
  return `#!/bin/sh\n${setting}${functions.join('')}${body}`;
}
