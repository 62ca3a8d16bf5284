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
