// Where everything of ours lies on a machine, and nothing lies elsewhere: one directory and one systemd unit. So a
// removal can be proven.
//
//   /var/lib/flotilla/runtime/DIGEST/bin/node   Node, DIGEST: of the package it came in, twelve digits
//   /var/lib/flotilla/agent-DIGEST/             main.js and its parts, `start`, `runtime` → ../runtime/DIGEST
//   /var/lib/flotilla/current                   → agent-DIGEST: what runs
//   /var/lib/flotilla/trial                     → agent-DIGEST: what ran before, until the new one is found healthy
//   /var/lib/flotilla/failed                    which agent was rolled back, and why
//   /var/lib/flotilla/supervisor                what the unit starts (supervisor.ts)
//   /var/lib/flotilla/settings                  FLOTILLA_NODE_NAME and the like
//   /var/lib/flotilla/bootstrap                 a kubeconfig with the token it joins by, until it has joined
//   /var/lib/flotilla/state                     the agent's data directory
//   /var/lib/flotilla/logs                      its log
//   /var/lib/flotilla/supervised                the processes that the supervisor started, where it keeps two
//   /var/lib/flotilla/controlplane/DIGEST/      main.js and its parts, `start`, `runtime` → ../../runtime/DIGEST: only where
//                                               the cluster's state is kept; beside it DIGEST.deb, which others get
//   /var/lib/flotilla/controlplane/current      → DIGEST: what runs; `trial` and `failed` as of the agent
//   /var/lib/flotilla/controlplane/invitation   until it has joined: whoever reads it has the cluster (mode 0600)
//   /var/lib/flotilla/controlplane/said         its last words, for its agent
//   /var/lib/flotilla/controlplane/state        the control plane's data directory

export const machineRoot = '/var/lib/flotilla';
export const unitName = 'flotilla-agent.service';
export const unitDirectory = '/etc/systemd/system';

/** As much of a sha256 as names a folder. */
export function shortDigest(sha256: string): string {
  return sha256.slice(0, 12);
}
