// Ports that LoadBalancer Services want and programs of this machine listen on: told on the Node, so that the
// machine is left out for them. What the kernel leads away from a program would be lost to it: SSH, say.
import type { Service } from '#kube/api/core.ts';
import type { Clock, Timer } from '#kube/base/clock.ts';
import { balancedPorts, isBalanced, portsTakenText } from '#kube/machinery/balancers.ts';

export interface PortsTakenDeps {
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

export class PortsTaken {
  readonly #deps: PortsTakenDeps;
  #text = '';
  #isRunning = false;
  #isDirty = false;
  #timer: Timer | undefined;

  constructor(deps: PortsTakenDeps) {
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
      const text = portsTakenText(await this.#takenOf(wanted));
      if (text === this.#text) continue;
      this.#text = text;
      onChange();
    }
    this.#isRunning = false;
    this.#timer?.cancel();
    if (wanted.size > 0 && !signal.aborted)
      this.#timer = clock.timer(lookMs, () => void this.#look());
  }

  async #takenOf(wanted: ReadonlySet<string>): Promise<Map<string, string>> {
    const taken = new Map<string, string>();
    for (const port of wanted) {
      const [number = '', protocol] = port.split('/');
      if (protocol !== 'tcp' && protocol !== 'udp') continue;
      const holder = await this.#deps.holder(Number(number), protocol);
      if (holder !== undefined) taken.set(port, holder);
    }
    return taken;
  }
}
