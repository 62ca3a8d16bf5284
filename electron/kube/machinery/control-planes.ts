// What the control plane that leads, and the agent of a machine that is to keep the cluster's state as well, agree on:
// annotations of that machine's Node. They are hints alone: whom the leader chose stands in a ConfigMap that no node may
// write (`recordName`), and only whom it chose gets an invitation.

/** `0.1.0+DIGEST`: the control plane that is to run there; `none`: no more. Said by the leader. */
export const controlPlaneTargetAnnotation = 'flotilla.dev/control-plane-target';
/** `https://192.168.1.10:7443`: who has what the targets name, and who invites. Said with them. */
export const packageSourceAnnotation = 'flotilla.dev/package-source';
/** The one that runs there and was found healthy. Said by its agent. */
export const controlPlaneVersionAnnotation = 'flotilla.dev/control-plane-version';
/** `DIGEST Failed: why`, or `DIGEST Waits: why`. Said by its agent. */
export const controlPlaneReportAnnotation = 'flotilla.dev/control-plane-report';
/** One sentence for people: whether the machine keeps the state, and why or why not. Said by the leader. */
export const controlPlaneAnnotation = 'flotilla.dev/control-plane';
/** `no`, as a label or an annotation: a person wants no copy of the state there. */
export const controlPlaneAllowed = 'flotilla.dev/control-plane-allowed';
/** How long the machine's disk takes for a write that is to last, in milliseconds. Said by its agent. */
export const diskSyncAnnotation = 'flotilla.dev/disk-sync-ms';
/** `no`: it has a battery, and is closed and carried away. Said by its agent. */
export const alwaysOnAnnotation = 'flotilla.dev/always-on';

export const noControlPlane = 'none';

export const recordNamespace = 'kube-system';
/** By node name, whom the leader chose. */
export const recordName = 'control-plane-members';
/** `replicas`: how many a person wants: 1 (none on other machines), 3 or 5. */
export const settingsName = 'control-plane-replicas';

/** Where a control plane on a machine listens: its API, its page, and for other members. */
export const controlPlanePorts = { api: 7443, ui: 7480, member: 7450 } as const;

export interface ControlPlanePackageText {
  readonly version: string;
  readonly sha256: string;
  readonly bytes: number;
}

/** Two lines, as `packageText` makes them. */
export function controlPlanePackageText(text: ControlPlanePackageText): string {
  return `version ${text.version}\ncontrolplane ${text.sha256} ${text.bytes}\n`;
}

/** Undefined: it is none. */
export function parseControlPlanePackage(text: string): ControlPlanePackageText | undefined {
  const found = /^version (\S+)\ncontrolplane ([0-9a-f]{64}) (\d+)$/m.exec(text);
  if (found === null) return undefined;
  const [, version = '', sha256 = '', bytes] = found;
  return { version, sha256, bytes: Number(bytes) };
}
