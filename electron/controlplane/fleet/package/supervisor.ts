// What systemd runs on a machine: the unit, and the few lines of sh that start the agent which `current` names, and a control
// plane beside it where the machine keeps the cluster's state as well. One that is on trial (`trial` names the one before it) has to be found healthy in time, which it says by
// removing `trial`; one that ends or hangs before that is rolled back by a single rename, and `failed` says why.
// Nothing here changes with the agent's version, so a broken agent can't break its own way back.
import { machineRoot } from './machine-paths.ts';

/** How long a new agent has to be found healthy; `FLOTILLA_TRIAL_SECONDS` in the settings says otherwise. */
export const trialSeconds = 90;

/**
 * No namespace of its own for mounts (ProtectSystem, PrivateTmp and their kin): pods' volumes that the agent mounts are the
 * engine's to see. Containers and what keeps them are not the agent's processes, and go on when it ends.
 */
export const unitText = `[Unit]
Description=Flotilla agent: keeps the containers of a home cluster
After=network-online.target docker.service time-sync.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
EnvironmentFile=${machineRoot}/settings
ExecStart=/bin/sh ${machineRoot}/supervisor
WorkingDirectory=${machineRoot}
Restart=always
RestartSec=1
KillMode=process
TimeoutStopSec=15
LockPersonality=yes
RestrictRealtime=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
`;

/**
 * \`mv -T\` of a link over a link is one rename: there is always a \`current\`. Alone, the agent takes the place of this
 * process; with a control plane beside it this process stays, so that either may end and come back while the other runs.
 */
export const supervisorText = `#!/bin/sh
# Starts the agent that \`current\` names, and the control plane that \`controlplane/current\` names, if there is one; goes back
# to the one before it when a new one fails its trial.
set -u
cd "$(dirname "$0")"
root=$(pwd)
role=both folder=.
case \${1-} in once|keep) role=$1 folder=$2; shift 2 ;; esac
# A signal to this process ends a wait, too.
await() {
  while :; do
    code=0
    wait "$1" || code=$?
    kill -0 "$1" 2>/dev/null || break
  done
}
if [ "$role" = both ]; then
  # What was left behind when this process was killed would have a twin.
  for pid in $(cat supervised 2>/dev/null); do
    tries=0
    while grep -aqF "$root/supervisor" "/proc/$pid/cmdline" 2>/dev/null && [ $tries -lt 150 ]; do
      kill -TERM "$pid" 2>/dev/null
      tries=$((tries + 1))
      sleep 0.1
    done
  done
  rm -f supervised
  if [ -L controlplane/current ]; then
    agent= plane=
    trap 'kill -TERM $agent $plane 2>/dev/null' TERM INT
    sh "$root/supervisor" keep . & agent=$!
    sh "$root/supervisor" keep controlplane & plane=$!
    echo "$agent $plane" > supervised
    await "$plane"
    # It was told to end, or the control plane was taken away: then the agent goes on alone, from the next start.
    kill -TERM "$agent" 2>/dev/null
    await "$agent"
    rm -f supervised
    exit 0
  fi
fi
if [ "$role" = keep ]; then
  stopping=no child= nap= pause=1
  trap 'stopping=yes; kill -TERM $child $nap 2>/dev/null' TERM INT
  while [ $stopping = no ] && [ -L "$folder/current" ]; do
    began=$(date +%s)
    sh "$root/supervisor" once "$folder" & child=$!
    [ "$folder" = . ] || echo "$child" > "$folder/pid"
    [ $stopping = no ] || kill -TERM "$child" 2>/dev/null
    await "$child"
    child=
    [ $(($(date +%s) - began)) -lt 60 ] || pause=1
    [ $stopping = no ] || break
    sleep $pause & nap=$!
    await "$nap"
    nap=
    [ "$folder" = . ] || pause=$((pause * 2))
    [ $pause -le 30 ] || pause=30
  done
  exit 0
fi
cd "$folder"
[ -L trial ] || exec current/start "$@"
seconds=\${FLOTILLA_TRIAL_SECONDS:-${trialSeconds}}
tried=$(readlink current)
# One that was found healthy may have tried out another meanwhile: that trial is for the next start.
ontrial() { [ -L trial ] && [ "$(readlink current)" = "$tried" ]; }
stopping=no
child= watch=
stop() {
  stopping=yes
  [ -n "$child" ] || return 0
  kill -TERM "$child" 2>/dev/null
  ( sleep 10; kill -KILL "$child" 2>/dev/null ) &
}
trap stop TERM INT
current/start "$@" &
child=$!
nap=
(
  trap 'kill $nap 2>/dev/null; exit 0' TERM
  sleep "$seconds" & nap=$!
  wait "$nap"
  if ontrial; then
    : > trial-over
    kill -KILL "$child"
  fi
) &
watch=$!
await "$child"
kill -TERM "$watch" 2>/dev/null
if ontrial && [ "$stopping" = no ]; then
  if [ -e trial-over ]; then why="was not healthy within $seconds s"; else why="ended with code $code"; fi
  printf '%s %s\\n' "$tried" "$why" > failed.new
  mv -T failed.new failed
  mv -T trial current
  sync . 2>/dev/null
fi
rm -f trial-over
exit "$code"
`;
