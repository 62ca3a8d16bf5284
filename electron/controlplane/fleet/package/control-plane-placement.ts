// How a machine that runs our agent gets a control plane, and loses it: programs for sh that its agent runs, as those of
// placement.ts in every respect. All that belongs to it lies in one folder that only root may read, since the state
// and the invitation are the cluster. What a removal must never leave is two: so nothing here asks whether the group can do
// without it; the leader has said so before.
import { beside, prelude, receive, settle, type Program } from './placement.ts';

/** The runtime is the one that the agent has. */
const own = `${prelude}umask 077
plane=$root/controlplane
runtime=$(basename "$(readlink "$root/current/runtime")")
`;

const check: Program = {
  takes: ['DIGEST of the control plane package'],
  text: `${own}is_digest "$1"
if [ -f "$plane/$1/controlplane/main.js" ] && [ -f "$plane/$1.deb" ] && [ -x "$plane/$1/runtime/bin/node" ]; then echo done; else echo todo; fi
`,
};

const place: Program = {
  takes: ['SHA256 of the control plane package'],
  reads: 'control plane package',
  text: `${own}is_digest "$1"
sha256=$1 short=$(printf %.12s "$1")
mkdir -p "$plane"
# What neither runs nor ran before.
for one in "$plane"/*/; do
  case $(basename "$one") in
    state|"$(basename "$(readlink "$plane/current" || echo none)")"|"$(basename "$(readlink "$plane/trial" || echo none)")") ;;
    *) rm -rf "\${one%/}" "\${one%/}.deb" ;;
  esac
done
${beside}${receive.replace('rm "$new/package"', 'mv "$new/package" "$new/kept"')}[ -f "$new/files/controlplane/main.js" ] || fail "the package holds no control plane"
ln -s "../../runtime/$runtime" "$new/files/runtime"
sync "$new/kept"
mv -T "$new/kept" "$plane/$short.deb"
rm -rf "$plane/$short"
set -- "$new/files" "$plane/$short"
${settle}echo done
`,
};

const join: Program = {
  takes: [],
  reads: 'invitation',
  text: `${own}[ ! -e "$plane/state/store/member.json" ] || fail "there is a copy of the state in $plane/state already"
mkdir -p "$plane"
${beside}cat > "$new/invitation"
[ -s "$new/invitation" ] || fail "the invitation did not arrive"
# An invitation that was never used: its keys are nobody's any more.
rm -rf "$plane/state"
sync "$new/invitation"
mv -T "$new/invitation" "$plane/invitation"
sync "$plane"
echo done
`,
};

/** At once: for a machine that joins. It begins with the supervisor's next start. */
const use: Program = {
  takes: ['DIGEST of the control plane package'],
  text: `${own}is_digest "$1"
[ -f "$plane/$1/controlplane/main.js" ] || fail "the control plane $1 is not there yet"
rm -f "$plane/trial" "$plane/failed"
ln -sfn "$1" "$plane/.current"
mv -T "$plane/.current" "$plane/current"
sync "$plane"
echo done
`,
};

/** The present one ends in order, which hands leadership over, and the supervisor starts the new one on trial. */
const tryOut: Program = {
  takes: ['DIGEST of the control plane package'],
  text: `${own}is_digest "$1"
[ -f "$plane/$1/controlplane/main.js" ] || fail "the control plane $1 is not there yet"
now=$(readlink "$plane/current")
if [ "$now" != "$1" ]; then
  rm -f "$plane/failed"
  ln -sfn "$now" "$plane/.trial"
  mv -T "$plane/.trial" "$plane/trial"
  ln -sfn "$1" "$plane/.current"
  mv -T "$plane/.current" "$plane/current"
  sync "$plane"
fi
[ ! -s "$plane/pid" ] || kill -TERM "$(cat "$plane/pid")" 2>/dev/null || :
echo done
`,
};

/** It serves: there is no way back any more, and the invitation is spent. */
const confirm: Program = {
  takes: [],
  text: `${own}rm -f "$plane/trial" "$plane/failed" "$plane/invitation"
sync "$plane"
echo done
`,
};

/**
 * It ends, and with it the cluster's keys on this machine. Its state is set aside until the next time: whoever went on without
 * it may have been wrong to.
 */
const drop: Program = {
  takes: [],
  text: `${own}rm -f "$plane/current" "$plane/trial"
pid=$(cat "$plane/pid" 2>/dev/null || :)
if [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$(readlink -f "$plane")" ]; then
  kill -TERM "$pid" 2>/dev/null || :
  tries=0
  while [ -e "/proc/$pid" ] && [ $tries -lt 100 ]; do tries=$((tries + 1)); sleep 0.1; done
  kill -KILL "$pid" 2>/dev/null || :
fi
if [ -d "$plane/state/store" ]; then
  rm -rf "$root/state-before"
  mv -T "$plane/state/store" "$root/state-before"
  sync "$root"
fi
rm -rf "$plane"
echo done
`,
};

/** In the order in which a machine becomes a member: check, place, join, use, and, once it serves, confirm. */
export const controlPlanePlacement = {
  check,
  place,
  join,
  use,
  tryOut,
  confirm,
  drop,
} as const satisfies Readonly<Record<string, Program>>;
