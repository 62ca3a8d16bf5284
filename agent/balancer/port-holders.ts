// Who of this machine's programs listens on the ports that LoadBalancer Services want: told on the Node, so that the
// machine is left out where somebody does. What the kernel leads away from a program would be lost to it: SSH, say.
import type { Service } from '#kube/api/core.ts';
import type { Clock, Timer } from '#kube/base/clock.ts';
import { balancedPorts, freePort, isBalanced, pairsText } from '#kube/machinery/balancers.ts';

export interface PortHoldersDeps {
  readonly services: {
    readonly lister: { list(): Service[] };
    addHandler(handlers: { onAdd(): void; onUpdate(): void; onDelete(): void }): () => void;
  };
  /** Who listens on it, in words; not this process. */
  readonly holder: (port: number, protocol: 'tcp' | 'udp') => Promise<string | undefined>;
  readonly clock: Clock;
  readonly onChange: () => void;
  readonly signal: AbortSignal;
}

/** Programs come and go unasked; looked at only while a Service wants a port. */
const lookMs = 30_000;

export class PortHolders {
  readonly #deps: PortHoldersDeps;
  #text = '';
  #isRunning = false;
  #isDirty = false;
  #timer: Timer | undefined;

  constructor(deps: PortHoldersDeps) {
    const { services, signal } = deps;
    this.#deps = deps;
    const changed = (): void => void this.#look();
    const detach = services.addHandler({ onAdd: changed, onUpdate: changed, onDelete: changed });
    const stop = (): void => {
      detach();
      this.#timer?.cancel();
    };
    signal.addEventListener('abort', stop, { once: true });
  }

  /** The annotation; undefined: none. */
  get text(): string | undefined {
    return this.#text === '' ? undefined : this.#text;
  }

  async #look(): Promise<void> {
    this.#isDirty = true;
    if (this.#isRunning) return;
    this.#isRunning = true;
    const { clock, services, signal, onChange } = this.#deps;
    let wanted = new Set<string>();
    while (this.#isDirty && !signal.aborted) {
      this.#isDirty = false;
      wanted = new Set(services.lister.list().filter(isBalanced).flatMap(balancedPorts));
      const text = pairsText(await this.#holdersOf(wanted));
      if (text === this.#text) continue;
      this.#text = text;
      onChange();
    }
    this.#isRunning = false;
    this.#timer?.cancel();
    if (wanted.size > 0 && !signal.aborted)
      this.#timer = clock.timer(lookMs, () => void this.#look());
  }

  async #holdersOf(wanted: ReadonlySet<string>): Promise<Map<string, string>> {
    const holders = new Map<string, string>();
    for (const port of wanted) {
      const [number = '', protocol] = port.split('/');
      // Of SCTP the kernel shows no such table everywhere.
      const isLookedAt = protocol === 'tcp' || protocol === 'udp';
      const holder = isLookedAt ? await this.#deps.holder(Number(number), protocol) : undefined;
      holders.set(port, holder ?? freePort);
    }
    return holders;
  }
}
