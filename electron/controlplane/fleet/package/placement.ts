// How a package gets onto a machine and becomes its agent: plain programs for sh, run there as root. Each is idempotent;
// a check prints `done` or `todo` and changes nothing; the others print `done` or end with a sentence on
// stderr. What is unpacked lies beside until it is whole, verified and on the disk, then one rename makes it so: a cable that
// is cut at any moment leaves what was there. No value is ever written into a program's text: what differs comes as
// arguments or on stdin.
import { machineRoot, unitDirectory, unitName } from './machine-paths.ts';
import { supervisorText, unitText } from './supervisor.ts';

export interface Program {
  readonly text: string;
  /** What to call it with. */
  readonly takes: readonly string[];
  /** What it reads from stdin; undefined: nothing. */
  readonly reads?:
    | 'runtime package'
    | 'agent package'
    | 'control plane package'
    | 'invitation'
    | 'kubeconfig';
}

/** Tests set the two variables; on a machine nobody does. */
export const prelude = `set -eu
umask 022
root=\${FLOTILLA_ROOT:-${machineRoot}} units=\${FLOTILLA_UNITS:-${unitDirectory}}
fail() { echo "$1" >&2; exit 1; }
is_digest() { case $1 in ''|*[!0-9a-f]*) fail "not a digest: $1" ;; esac; }
`;

/** \`$new\`: an empty folder on the same disk, gone when the program ends. */
export const beside = `mkdir -p "$root"
find "$root" -maxdepth 1 -name '.placing-*' -mmin +60 -exec rm -rf {} +
new=$(mktemp -d "$root/.placing-XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM PIPE
`;

/** Stdin, verified and unpacked into \`$new/files\`. $sha256 is what it has to be. */
export const receive = `command -v dpkg-deb > /dev/null || fail "this system has no dpkg-deb: only Debian and its kin can be added"
cat > "$new/package" || fail "the package could not be written to $root: is the disk full?"
found=$(sha256sum "$new/package"); found=\${found%% *}
[ "$found" = "$sha256" ] || fail "the package arrived damaged or cut short: its sha256 is $found, not $sha256"
dpkg-deb -x "$new/package" "$new/files" || fail "the package could not be unpacked: is there room on the disk? A package made without xz needs Debian 12, Ubuntu 20.04 or newer"
rm "$new/package"
`;

/** $1 into $2, if that is not there yet. */
export const settle = `find "$1" -type f -exec sync {} + && sync "$1"
mv -T "$1" "$2" 2>/dev/null || [ -d "$2" ] || fail "$2 could not be made"
sync "$(dirname "$2")"
`;

const checkRuntime: Program = {
  takes: ['DIGEST (12 digits of the runtime package)'],
  text: `${prelude}is_digest "$1"
if "$root/runtime/$1/bin/node" --version > /dev/null 2>&1; then echo done; else echo todo; fi
`,
};

const placeRuntime: Program = {
  takes: ['SHA256 of the runtime package'],
  reads: 'runtime package',
  text: `${prelude}is_digest "$1"
sha256=$1 short=$(printf %.12s "$1")
${beside}${receive}"$new/files/bin/node" --version > /dev/null 2> "$new/why" || fail "Node does not run on this system: $(cat "$new/why")"
mkdir -p "$root/runtime"
# One that is there and does not run is broken.
"$root/runtime/$short/bin/node" --version > /dev/null 2>&1 || rm -rf "$root/runtime/$short"
set -- "$new/files" "$root/runtime/$short"
${settle}echo done
`,
};

/** Done as well while another one runs: what \`current\` names is switched by \`use\`. */
const checkAgent: Program = {
  takes: ['DIGEST of the agent package', 'DIGEST of the runtime package'],
  text: `${prelude}is_digest "$1"; is_digest "$2"
if [ -f "$root/agent-$1/main.js" ] && [ "$(readlink "$root/agent-$1/runtime")" = "../runtime/$2" ]; then echo done; else echo todo; fi
`,
};

const placeAgent: Program = {
  takes: ['SHA256 of the agent package', 'DIGEST of the runtime package'],
  reads: 'agent package',
  text: `${prelude}is_digest "$1"; is_digest "$2"
sha256=$1 short=$(printf %.12s "$1") runtime=$2
[ -x "$root/runtime/$runtime/bin/node" ] || fail "the runtime $runtime is not there yet"
${beside}${receive}[ -f "$new/files/main.js" ] || fail "the package holds no agent"
ln -s "../runtime/$runtime" "$new/files/runtime"
set -- "$new/files" "$root/agent-$short"
[ "$(readlink "$2/runtime" 2>/dev/null)" = "../runtime/$runtime" ] && [ -f "$2/main.js" ] || rm -rf "$2"
${settle}echo done
`,
};

const checkUse: Program = {
  takes: ['DIGEST of the agent package'],
  text: `${prelude}is_digest "$1"
if [ "$(readlink "$root/current" 2>/dev/null)" = "agent-$1" ]; then echo done; else echo todo; fi
`,
};

/** At once and without a trial: for a machine that joins. One that runs goes on with the old until \`start\`. */
const use: Program = {
  takes: ['DIGEST of the agent package'],
  text: `${prelude}is_digest "$1"
[ -f "$root/agent-$1/main.js" ] || fail "the agent $1 is not there yet"
rm -f "$root/trial" "$root/failed"
ln -sfn "agent-$1" "$root/.current"
mv -T "$root/.current" "$root/current"
sync "$root"
echo done
`,
};

/** At the next start, and for good only once it is found healthy. */
const tryOut: Program = {
  takes: ['DIGEST of the agent package'],
  text: `${prelude}is_digest "$1"
[ -f "$root/agent-$1/main.js" ] || fail "the agent $1 is not there yet"
now=$(readlink "$root/current")
[ "$now" != "agent-$1" ] || { echo done; exit 0; }
rm -f "$root/failed"
ln -sfn "$now" "$root/.trial"
mv -T "$root/.trial" "$root/trial"
ln -sfn "agent-$1" "$root/.current"
mv -T "$root/.current" "$root/current"
sync "$root"
echo done
`,
};

/** The two files are shell constants of ours. */
const files = `unit='${unitText}'
supervisor='${supervisorText.replaceAll("'", String.raw`'\''`)}'
`;

const checkUnit: Program = {
  takes: [],
  text: `${prelude}${files}has() { [ "$(cat "$1" 2>/dev/null)" = "\${2%?}" ]; }
if has "$units/${unitName}" "$unit" && has "$root/supervisor" "$supervisor"; then echo done; else echo todo; fi
`,
};

const placeUnit: Program = {
  takes: [],
  text: `${prelude}${files}mkdir -p "$root"
put() { printf %s "$2" > "$1.new" && sync "$1.new" && mv -T "$1.new" "$1" && sync "$(dirname "$1")"; }
put "$root/supervisor" "$supervisor"
put "$units/${unitName}" "$unit"
systemctl daemon-reload
echo done
`,
};

/** Done once it has joined: a token that lies there may have ended meanwhile. */
const checkJoin: Program = {
  takes: ['NODE', 'DISCOVERY (off, or interfaces with commas)'],
  text: `${prelude}
wanted=$(printf 'FLOTILLA_NODE_NAME=%s\\nFLOTILLA_DISCOVERY=%s' "$1" "$2")
if [ "$(cat "$root/settings" 2>/dev/null)" = "$wanted" ] && [ -s "$root/state/kubeconfig" ]; then echo done; else echo todo; fi
`,
};

/** By which name, and by which token, it asks for its certificates when it starts. */
const join: Program = {
  takes: ['NODE', 'DISCOVERY (off, or interfaces with commas)'],
  reads: 'kubeconfig',
  text: `${prelude}umask 077
case $1 in ''|*[!a-z0-9.-]*) fail "no name of a node: $1" ;; esac
case $2 in ''|*[!A-Za-z0-9.,@:_-]*) fail "no list of interfaces: $2" ;; esac
${beside}cat > "$new/bootstrap"
[ -s "$new/bootstrap" ] || fail "the token did not arrive"
printf 'FLOTILLA_NODE_NAME=%s\\nFLOTILLA_DISCOVERY=%s\\n' "$1" "$2" > "$new/settings"
sync "$new/bootstrap" "$new/settings"
mv -T "$new/bootstrap" "$root/bootstrap"
mv -T "$new/settings" "$root/settings"
sync "$root"
echo done
`,
};

/** The token is spent once the machine has joined. */
const forgetToken: Program = {
  takes: [],
  text: `${prelude}rm -f "$root/bootstrap"
echo done
`,
};

/** Whether the agent runs, and it is the one that \`current\` names. */
const checkStarted: Program = {
  takes: [],
  text: `${prelude}if systemctl is-enabled --quiet ${unitName} && systemctl is-active --quiet ${unitName} && [ "$(cat "$root/state/version" 2>/dev/null)" = "$(readlink "$root/current")" ]; then echo done; else echo todo; fi
`,
};

const start: Program = {
  takes: [],
  text: `${prelude}systemctl daemon-reload
systemctl enable --quiet ${unitName}
systemctl restart ${unitName}
echo done
`,
};

/** Agents and runtimes that neither run nor ran before. */
const tidy: Program = {
  takes: [],
  text: `${prelude}cd "$root"
now=$(readlink current) before=$(readlink trial || :)
for one in agent-*; do
  [ "$one" = "$now" ] || [ "$one" = "$before" ] || rm -rf "$one"
done
for one in runtime/*; do
  isused=no
  for agent in agent-*; do [ "$(readlink "$agent/runtime")" != "../$one" ] || isused=yes; done
  for plane in controlplane/*; do [ "$(readlink "$plane/runtime" 2>/dev/null)" != "../../$one" ] || isused=yes; done
  [ $isused = yes ] || rm -rf "$one"
done
echo done
`,
};

/**
 * The host as it was, but for the data of claims and what people put beside it, which is named. Says each thing
 * that it took away; ends with an error when something is left that should not be, and may be repeated.
 */
const remove: Program = {
  takes: ['--without-cluster, where that is gone for good and can not be told (else nothing)'],
  text: `${prelude}name=$(sed -n 's/^FLOTILLA_NODE_NAME=//p' "$root/settings" 2>/dev/null || :)
if [ -L "$root/controlplane/current" ] && [ "\${1-}" != --without-cluster ]; then
  FLOTILLA_NODE_NAME=$name "$root/current/start" --leave-control-plane || fail "this machine keeps the cluster's state and nothing was removed, see above. Where the cluster is gone for good: $0 --without-cluster"
fi
if [ -e "$units/${unitName}" ]; then
  systemctl disable --quiet --now ${unitName}
  echo "stopped the agent"
fi
if [ -d "$root/state" ] && [ -n "$(ls -A "$root/state")" ]; then
  [ -x "$root/current/start" ] || fail "$root/state can't be cleared away: the agent itself is gone from $root/current; add the machine again first"
  FLOTILLA_NODE_NAME=$name "$root/current/start" --remove || fail "something of the node is left, see above; run this again when it is solved"
fi
if [ -e "$units/${unitName}" ]; then
  rm "$units/${unitName}"
  systemctl daemon-reload
  systemctl reset-failed ${unitName} 2>/dev/null || :
  echo "removed $units/${unitName}"
fi
[ -d "$root" ] || { echo done; exit 0; }
rm -rf "$root"/runtime "$root"/agent-* "$root"/.placing-* "$root/logs" "$root/controlplane" "$root/state-before"
for one in supervised current .current trial .trial trial-over failed failed.new supervisor supervisor.new settings bootstrap; do rm -f "$root/$one"; done
rmdir "$root/state" 2>/dev/null || :
if rmdir "$root" 2>/dev/null; then echo "removed $root"; else echo "kept in $root: $(cd "$root" && find . -mindepth 1 -maxdepth 2 | sort | tr '\\n' ' ')"; fi
echo done
`,
};

/** In the order in which a machine is made a node: runtime, agent, use, unit, join, start, then forgetToken. */
export const placement = {
  checkRuntime,
  placeRuntime,
  checkAgent,
  placeAgent,
  checkUse,
  use,
  tryOut,
  checkUnit,
  placeUnit,
  checkJoin,
  join,
  checkStarted,
  start,
  forgetToken,
  tidy,
  remove,
} as const satisfies Readonly<Record<string, Program>>;

/** One line for a shell, such as SSH's `exec` wants: `sh -c TEXT sh ARGUMENTS…`. */
export function commandLine({ text }: Program, args: readonly string[]): string {
  return ['sh', '-c', text, 'sh', ...args].map(quoted).join(' ');
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
