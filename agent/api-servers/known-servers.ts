// Follows which API servers there are, for the transport, and keeps them in a file for the next start. Written only when
// they changed.
import type { EndpointSlice } from '#kube/api/discovery.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { EventHandlers } from '#kube/client/informer.ts';
import { KeptFile, type FileAccess } from '../kept-file.ts';
import type { ServerList } from './server-choice.ts';
import {
  inOrder,
  isApiSlice,
  nobodyKnown,
  remembered,
  serversOf,
  type KnownServers as Known,
  type Standpoint,
} from './server-list.ts';

export interface SliceSource {
  readonly lister: { list(): EndpointSlice[] };
  addHandler(handlers: EventHandlers<EndpointSlice>): () => void;
  whenSynced(): Promise<void>;
}

export interface KnownServersDeps {
  readonly standpoint: () => Standpoint;
  readonly file: FileAccess;
  readonly onServers: (list: ServerList) => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class KnownServers {
  readonly #deps: KnownServersDeps;
  readonly #file: KeptFile<Known>;
  #known = nobodyKnown;
  /** That were only heard of: tried last, kept nowhere. */
  #hints: readonly string[] = [];
  #told = '';
  /** Of this machine, when it was looked last. */
  #own: ReadonlySet<string>;

  constructor(deps: KnownServersDeps) {
    this.#deps = deps;
    this.#own = deps.standpoint().ownAddresses;
    this.#file = new KeptFile({
      about: 'API servers',
      content: () => this.#known,
      remember: (known) => {
        this.#known = readable(known);
      },
      ...deps.file,
      clock: deps.clock,
      logger: deps.logger,
    });
  }

  /** In the order to try. */
  list(): ServerList {
    const { present, former } = this.#known;
    const known = { present, former: [...former, ...this.#hints] };
    return inOrder(known, this.#deps.standpoint());
  }

  async load(): Promise<void> {
    await this.#file.load();
    this.#tell();
  }

  async save(): Promise<void> {
    await this.#file.save();
  }

  follow(slices: SliceSource, signal: AbortSignal): void {
    let isSynced = false;
    const look = (): void => {
      // Half of a list would forget the other half.
      if (!isSynced) return;
      const next = remembered(this.#known, serversOf(slices.lister.list()));
      if (next === this.#known) return;
      this.#known = next;
      this.#file.touch();
      this.#tell();
    };
    const onSlice = (slice: EndpointSlice): void => void (isApiSlice(slice) && look());
    const detach = slices.addHandler({
      onAdd: onSlice,
      onUpdate: (_old, slice) => onSlice(slice),
      onDelete: onSlice,
    });
    signal.addEventListener('abort', detach, { once: true });
    void slices.whenSynced().then(() => {
      isSynced = true;
      look();
    });
  }

  /** Somebody says that they are API servers of this cluster: whether they are shows when they are asked. */
  hear(servers: readonly string[]): void {
    this.#hints = [...new Set([...servers, ...this.#hints])].slice(0, hintsMax);
    this.#tell();
  }

  /**
   * This machine's own addresses are others. Answers what is to be asked then: a control plane that was known by one of
   * those of before is here still.
   */
  moved(): readonly string[] {
    const { given, ownAddresses: now } = this.#deps.standpoint();
    const { present, former } = this.#known;
    const here = [given, ...present, ...former]
      .map((server) => new URL(server))
      .filter(({ hostname }) => this.#own.has(hostname) && !now.has(hostname));
    this.#own = now;
    const servers = [...new Set(here.map(({ port }) => `https://127.0.0.1:${port}`))];
    if (servers.length > 0) this.hear(servers);
    this.#tell();
    return servers;
  }

  #tell(): void {
    const list = this.list();
    const text = JSON.stringify(list);
    if (text === this.#told) return;
    this.#told = text;
    this.#deps.onServers(list);
  }
}

const hintsMax = 4;

/** Of a file that anybody may have written. */
function readable(known: Partial<Known>): Known {
  const only = (list: unknown): string[] =>
    Array.isArray(list) ? list.filter((one): one is string => isServer(one)) : [];
  return { present: only(known.present), former: only(known.former) };
}

function isServer(text: unknown): boolean {
  return typeof text === 'string' && /^https:\/\/[\w.-]+:\d{1,5}$/.test(text);
}
