// The packages of this app, for whoever asks: made once for each architecture, however many ask at a time.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { controlPlanePackage, type ControlPlanePackage } from './control-plane-package.ts';
import type { Architecture, LockedRuntimes } from './locked-runtimes.ts';
import {
  agentVersion,
  machinePackage,
  PackageError,
  type MachinePackage,
  type PackageSource,
} from './machine-package.ts';
import { npmRuntimes } from './runtime-source.ts';

export interface MachinePackagesDeps {
  readonly version: string;
  /** Folder with all that was built. */
  readonly built: string;
  /** This control plane's own package; undefined: it did not come as one. */
  readonly ownFile: string | undefined;
  /** The built agent; `runtimes.json` in it tells which Node belongs to it. */
  readonly agent: string;
  /** Folders in which npm packages may be installed. */
  readonly modules: readonly string[];
  /** Where packages are kept. */
  readonly cache: string;
}

export class MachinePackages {
  readonly #deps: MachinePackagesDeps;
  #controlPlane: Promise<ControlPlanePackage> | undefined;
  readonly #making = new Map<Architecture, Promise<MachinePackage>>();

  constructor(deps: MachinePackagesDeps) {
    this.#deps = deps;
  }

  /** Takes a minute of the processor the first time. Throws PackageError. */
  readonly of = (architecture: Architecture): Promise<MachinePackage> => {
    const known = this.#making.get(architecture);
    if (known !== undefined) return known;
    const making = this.#make(architecture);
    this.#making.set(architecture, making);
    // What failed may be had next time.
    making.catch(() => this.#making.delete(architecture));
    return making;
  };

  /**
   * Made before somebody asks, so that nobody waits for it: of this computer's kind, whose Node is here already. What fails is said to
   * who asks.
   */
  async makeAhead(architecture: string): Promise<void> {
    if (architecture !== 'x64' && architecture !== 'arm64') return;
    await this.of(architecture).catch(() => undefined);
  }

  /** Of the agent in it, without making the rest. Throws PackageError. */
  readonly versionOf = async (architecture: Architecture): Promise<string> =>
    agentVersion(architecture, await this.#source());

  /** For machines that keep the cluster's state. Throws PackageError. */
  readonly controlPlane = (): Promise<ControlPlanePackage> => {
    const known = this.#controlPlane;
    if (known !== undefined) return known;
    const making = controlPlanePackage(this.#deps);
    this.#controlPlane = making;
    making.catch(() => (this.#controlPlane = undefined));
    return making;
  };

  async #make(architecture: Architecture): Promise<MachinePackage> {
    return machinePackage(architecture, await this.#source());
  }

  async #source(): Promise<PackageSource> {
    const { version, agent, modules, cache } = this.#deps;
    const file = path.join(agent, 'runtimes.json');
    const text = await readFile(file, 'utf8').catch((cause: unknown) => {
      throw new PackageError(`the agent is not built: ${file} is missing`, { cause });
    });
    const runtime = npmRuntimes({ locked: JSON.parse(text) as LockedRuntimes, modules });
    return { version, agent, cache, runtime };
  }
}
