// What systemd runs on a machine: the unit, and the few lines of sh that start the agent which `current` names. An
// agent that is on trial (`trial` names the one before it) has to be found healthy in time, which it says by
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

/** \`mv -T\` of a link over a link is one rename: there is always a \`current\`. */
export const supervisorText = `#!/bin/sh
# Starts the agent that \`current\` names, and goes back to the one before it when a new one fails its trial.
set -u
cd "$(dirname "$0")"
[ -L trial ] || exec current/start "$@"
seconds=\${FLOTILLA_TRIAL_SECONDS:-${trialSeconds}}
tried=$(readlink current)
# One that was found healthy may have tried out another meanwhile: that trial is for the next start.
ontrial() { [ -L trial ] && [ "$(readlink current)" = "$tried" ]; }
stopping=no
agent= watch=
stop() {
  stopping=yes
  [ -n "$agent" ] || return 0
  kill -TERM "$agent" 2>/dev/null
  ( sleep 10; kill -KILL "$agent" 2>/dev/null ) &
}
trap stop TERM INT
current/start "$@" &
agent=$!
(
  trap 'kill "$nap" 2>/dev/null; exit 0' TERM
  sleep "$seconds" & nap=$!
  wait "$nap"
  if ontrial; then
    : > trial-over
    kill -KILL "$agent"
  fi
) &
watch=$!
# A signal to this process ends a wait, too.
while :; do
  code=0
  wait "$agent" || code=$?
  kill -0 "$agent" 2>/dev/null || break
done
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
