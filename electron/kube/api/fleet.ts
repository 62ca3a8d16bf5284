// flotilla.dev/v1alpha1: the machines of the home, and the search for them. Hand-written, as its schema is
// (resources/schema/flotilla.v1alpha1.json).
import type { Condition, ObjectMeta } from './meta.ts';

/** A machine that was seen on the home's network, or that a person told of. */
export interface Machine {
  apiVersion: 'flotilla.dev/v1alpha1';
  kind: 'Machine';
  metadata: ObjectMeta;
  spec?: MachineSpec;
  status?: MachineStatus;
}

export interface MachineSpec {
  /** Typed by a person: an IPv4 address or a host name, where it answers though nothing is heard of it. */
  address?: string;
  /** Where its SSH server listens; 22 if left out. */
  sshPort?: number;
  /** `SHA256:…` of its SSH host key, as a person saw and accepted it; any other is refused. */
  hostKey?: string;
}

export interface MachineStatus {
  /**
   * `Seen`: it is there now. `Addable`: it can become a machine of the cluster, or why it can't; `Unknown` while
   * nobody asked.
   */
  conditions?: Condition[];
  addresses?: MachineAddress[];
  /** Without `.local`, as it calls itself. */
  hostNames?: string[];
  /** By what it was noticed. */
  seenBy?: MachineSource[];
  /** Of the network card, or of the whole machine: `Raspberry Pi`. */
  vendor?: string;
  /** As its SSH server tells: `Debian 12`. */
  operatingSystem?: string;
  ssh?: MachineSsh;
  /** The Node of this cluster that it is. */
  nodeName?: string;
  /** The last time it was added, or is being added. Without any secret. */
  enrolment?: EnrolmentStatus;
}

export interface MachineAddress {
  address: string;
  /** `b8:27:eb:12:34:56`. */
  hardwareAddress?: string;
  /** Of the searching machine. */
  interface?: string;
}

export interface MachineSsh {
  port: number;
  /** `OpenSSH_9.2p1 Debian-2+deb12u3`. */
  software?: string;
}

export type MachineSource = 'MulticastDNS' | 'Neighbour' | 'Sweep' | 'Typed';

/** What `machines/NAME/enrolment` is asked and answers: to become one of the cluster's. */
export interface Enrolment {
  apiVersion: 'flotilla.dev/v1alpha1';
  kind: 'Enrolment';
  metadata: ObjectMeta;
  /** In no answer, stored nowhere. */
  spec?: EnrolmentSpec;
  status?: EnrolmentStatus;
}

export interface EnrolmentSpec {
  /** `Inspect`: logs in, looks, and plans. `Apply`: does what the plan says. */
  phase: 'Inspect' | 'Apply';
  /** Whom to log in as. */
  user: string;
  password?: string;
  /** PEM, or OpenSSH's own form. */
  privateKey?: string;
  /** Of the private key. */
  passphrase?: string;
  /** The SSH agent of the person who runs the control plane. */
  useAgent?: boolean;
  /** `password` if left out. */
  sudoPassword?: string;
  /** `SHA256:…` that the person has seen. */
  hostKey?: string;
  /** Its host name if left out. */
  nodeName?: string;
  /** It takes the place of the Node of that name, whose machine is gone: labels and role stay, and that one is refused from then on. */
  replaceNode?: boolean;
  /** Goes on although the plan has warnings. */
  acceptWarnings?: boolean;
}

export interface EnrolmentStatus {
  phase: EnrolmentPhase;
  /** In words. */
  message?: string;
  hostKey?: { type: string; fingerprint: string; isPinned: boolean };
  machine?: EnrolmentMachine;
  /** The Node that it becomes. */
  nodeName?: string;
  steps?: EnrolmentStep[];
  /** Why it can't be added. */
  obstacles?: string[];
  warnings?: string[];
  /** When this was written; while it runs, every quarter of a minute at least. */
  lastUpdateTime?: string;
}

export type EnrolmentPhase =
  | 'HostKeyUnknown'
  | 'LoginRefused'
  | 'Obstructed'
  | 'Planned'
  | 'Running'
  | 'Failed'
  | 'Rebooting'
  | 'Done';

export interface EnrolmentMachine {
  /** `Raspberry Pi 4 Model B Rev 1.4`. */
  model?: string;
  /** `Debian GNU/Linux 12 (bookworm)`. */
  system?: string;
  /** As its kernel says: `aarch64`. */
  architecture?: string;
  hostName?: string;
  memoryBytes?: number;
  freeBytes?: number;
}

export interface EnrolmentStep {
  name: string;
  /** `Install Docker Engine (docker.io) by apt`. */
  title: string;
  needsReboot?: boolean;
  /** `Skipped`: it was so already. */
  state: 'Waiting' | 'Running' | 'Done' | 'Skipped' | 'Failed';
  message?: string;
  percent?: number;
}

/** What `nodes/NAME/power` and `nodes/NAME/removal` are asked and answer: what is to be done with a machine of the cluster. */
export interface NodeOperation {
  apiVersion: 'flotilla.dev/v1alpha1';
  kind: 'NodeOperation';
  metadata: ObjectMeta;
  spec?: NodeOperationSpec;
  status?: NodeOperationStatus;
}

/** `Remove` belongs to `nodes/removal`, all others to `nodes/power`. */
export type NodeAction = 'Reboot' | 'ShutDown' | 'Sleep' | 'Wake' | 'Remove';

export interface NodeOperationSpec {
  /** `Inspect`: says what will happen. `Apply`: asks for it. */
  phase: 'Inspect' | 'Apply';
  action: NodeAction;
  /** Goes on although there are warnings. */
  acceptWarnings?: boolean;
}

export interface NodeOperationStatus {
  /** `Asked`: it is under way; the Node's annotation `flotilla.dev/operation` tells how far. */
  phase: 'Planned' | 'Obstructed' | 'Asked';
  message?: string;
  pods?: NodeOperationPod[];
  /** Why it can't be done. */
  obstacles?: string[];
  warnings?: string[];
}

export interface NodeOperationPod {
  namespace: string;
  name: string;
  /** `Moves` to another machine, `Waits` for this one, or `Ends` for good. */
  outcome: 'Moves' | 'Waits' | 'Ends';
  /** In words. */
  why: string;
}

/** The search for machines. There is one, `home`, which the control plane makes. */
export interface Discovery {
  apiVersion: 'flotilla.dev/v1alpha1';
  kind: 'Discovery';
  metadata: ObjectMeta;
  spec?: DiscoverySpec;
  status?: DiscoveryStatus;
}

export interface DiscoverySpec {
  /** Networks, as CIDR, each of whose addresses a person agreed to have asked for SSH: once for each change here. */
  sweep?: string[];
}

export interface DiscoveryStatus {
  /** The generation whose `sweep` is through. */
  sweptGeneration?: number;
  /** `Searching`: False with the reason `Off` or `NoInterface`. `Hears`: what it hears of the home, or why not. */
  conditions?: Condition[];
  interfaces?: DiscoveryInterface[];
}

export interface DiscoveryInterface {
  name: string;
  /** With the prefix: `192.168.1.20/24`. */
  address: string;
}
