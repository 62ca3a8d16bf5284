// Reads and changes this machine's routes and the overlay's device by `ip` and `bridge` (iproute2): without a
// shell, and without a command where nothing changes. changes.ts decides.
import { networkInterfaces } from 'node:os';
import { firstLine, type ProxySystem } from '../proxy/system.ts';
import { isOurRoute, networkChanges, type FoundNetwork, type FoundOverlay } from './changes.ts';
import {
  parseAddresses,
  parseList,
  parseRoutes,
  type MachineAddress,
  type MachineNetwork,
} from './machine-network.ts';
import type { NetworkNames } from './names.ts';
import type { WantedNetwork } from './wanted.ts';

type System = Pick<ProxySystem, 'run'>;

/** Undefined `problem`: `ip` is here and answered. */
export interface ReadMachine extends MachineNetwork {
  readonly problem: string | undefined;
}

export class IpNetwork {
  readonly #system: System;
  readonly #names: NetworkNames;

  constructor(system: System, names: NetworkNames) {
    this.#system = system;
    this.#names = names;
  }

  async read(): Promise<ReadMachine> {
    const addresses = await this.#system.run('ip', ['-json', '-4', 'address', 'show']);
    const routes = await this.#system.run('ip', ['-json', '-4', 'route', 'show', 'table', 'all']);
    const failed = [addresses, routes].find(({ exitCode }) => exitCode !== 0);
    if (failed === undefined)
      return {
        addresses: parseAddresses(addresses.stdout),
        routes: parseRoutes(routes.stdout),
        problem: undefined,
      };
    const problem =
      failed.exitCode === undefined
        ? 'the program ip is missing on this machine (package iproute2)'
        : `ip says: ${firstLine(failed)}`;
    return { addresses: systemAddresses(), routes: [], problem };
  }

  /** What could not be done, in words. */
  async apply(
    wanted: Pick<WantedNetwork, 'direct' | 'overlay'>,
    machine: MachineNetwork,
  ): Promise<readonly string[]> {
    const found = await this.#find(machine, wanted.overlay !== undefined);
    const changes = networkChanges(wanted, found, this.#names);
    const problems: string[] = [];
    const withoutOverlay = await this.#runAll(changes.overlay, true);
    if (withoutOverlay !== undefined) problems.push(overlayProblem(withoutOverlay));
    const failed = await this.#runAll(changes.direct, false);
    if (failed !== undefined) problems.push(`a route was refused: ${failed}`);
    if (withoutOverlay !== undefined) return problems;
    const farFailed = await this.#runAll(changes.far, false);
    if (farFailed !== undefined) problems.push(`a route was refused: ${farFailed}`);
    return problems;
  }

  /** All of ours; how many routes there were. Throws with what stayed. */
  async remove(): Promise<number> {
    const machine = await this.read();
    const problems = await this.apply({ direct: [], overlay: undefined }, machine);
    if (problems.length > 0) throw new Error(problems.join('; '));
    return machine.routes.filter((route) => isOurRoute(route, this.#names)).length;
  }

  async #find({ routes, addresses }: MachineNetwork, needsEnds: boolean): Promise<FoundNetwork> {
    const ours = routes.filter((route) => isOurRoute(route, this.#names));
    const { overlay: name } = this.#names;
    const shown = await this.#system.run('ip', ['-json', '-details', 'link', 'show', 'dev', name]);
    if (shown.exitCode !== 0) return { routes: ours, overlay: undefined };
    const own = addresses.filter(({ device }) => device === name).map(({ address }) => address);
    const link = parseOverlay(shown.stdout, own);
    if (!needsEnds) return { routes: ours, overlay: link };
    const neighbours = await this.#system.run('ip', ['-json', 'neigh', 'show', 'dev', name]);
    const forwarding = await this.#system.run('bridge', ['-json', 'fdb', 'show', 'dev', name]);
    const ends = {
      neighbours: parseNeighbours(neighbours.stdout),
      forwarding: parseForwarding(forwarding.stdout),
    };
    return { routes: ours, overlay: { ...link, ...ends } };
  }

  /** What the first that failed said. The others are tried all the same, unless they build on it. */
  async #runAll(
    commands: readonly (readonly string[])[],
    stopsAtFailure: boolean,
  ): Promise<string | undefined> {
    let failure: string | undefined;
    for (const [program = '', ...args] of commands) {
      const result = await this.#system.run(program, args);
      if (result.exitCode === 0) continue;
      failure ??= `${[program, ...args].join(' ')}: ${firstLine(result)}`;
      if (stopsAtFailure) return failure;
    }
    return failure;
  }
}

function overlayProblem(failure: string): string {
  const isMissing = /unknown device type|not supported|unknown type/i.test(failure);
  return isMissing
    ? "pods on machines of other network segments can't be reached: this machine's kernel has no VXLAN (module vxlan)"
    : `pods on machines of other network segments can't be reached: ${failure}`;
}

interface JsonLink {
  readonly address?: string;
  readonly mtu?: number;
  readonly flags?: readonly string[];
  readonly linkinfo?: {
    readonly info_data?: { readonly id?: number; readonly local?: string; readonly port?: number };
  };
}

function parseOverlay(json: string, addresses: readonly string[]): FoundOverlay {
  const [link = {}] = parseList(json) as readonly JsonLink[];
  const { id = 0, local = '', port = 0 } = link.linkinfo?.info_data ?? {};
  const { address: mac = '', mtu = 0, flags = [] } = link;
  const isUp = flags.includes('UP');
  return { id, local, port, mac, mtu, isUp, addresses, neighbours: [], forwarding: [] };
}

function parseNeighbours(json: string): readonly string[] {
  interface Entry {
    readonly dst?: string;
    readonly lladdr?: string;
    readonly state?: readonly string[];
  }
  return (parseList(json) as readonly Entry[])
    .filter(({ state = [] }) => state.includes('PERMANENT'))
    .map(({ dst = '', lladdr = '' }) => `${dst} ${lladdr}`);
}

function parseForwarding(json: string): readonly string[] {
  interface Entry {
    readonly mac?: string;
    readonly dst?: string;
  }
  return (parseList(json) as readonly Entry[]).flatMap(({ mac = '', dst }) =>
    dst === undefined ? [] : [`${mac} ${dst}`],
  );
}

/** Where there is no `ip`: enough to choose a network that clashes with nothing. */
function systemAddresses(): readonly MachineAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([device, entries = []]) =>
    entries
      .filter(({ family }) => family === 'IPv4')
      .map(({ address, cidr }) => ({
        device,
        address,
        prefixLength: Number(cidr?.split('/')[1] ?? 32),
        mtu: 1500,
      })),
  );
}
