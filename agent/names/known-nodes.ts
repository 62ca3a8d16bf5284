// The Nodes by which it is decided who tells of which name (owners.ts): the API server's, and until it answers those that an
// earlier agent knew, so that names are told again by a machine that starts while the control plane is away.
import type { Node } from '#kube/api/core.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Informer } from '#kube/client/informer.ts';
import { isConditionTrue } from '#kube/machinery/conditions.ts';
import { ingressNode } from '#kube/machinery/ingress.ts';
import { KeptFile, type FileAccess } from '../kept-file.ts';

export interface KnownNodesDeps {
  readonly nodes: Pick<Informer<Node>, 'lister' | 'addHandler' | 'whenSynced'>;
  readonly file: FileAccess;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

interface Content {
  readonly nodes: readonly Node[];
}

export class KnownNodes {
  readonly #deps: KnownNodesDeps;
  readonly #file: KeptFile<Content>;
  readonly #handlers = new Set<() => void>();
  #kept: readonly Node[] = [];
  #isSynced = false;

  constructor(deps: KnownNodesDeps) {
    const { nodes, file, clock, logger, signal } = deps;
    this.#deps = deps;
    this.#file = new KeptFile<Content>({
      about: 'Nodes that tell names',
      content: () => ({ nodes: this.list().map(keptNode) }),
      remember: ({ nodes: kept }) => {
        if (Array.isArray(kept)) this.#kept = kept;
      },
      ...file,
      clock,
      logger,
    });
    const changed = (): void => {
      if (!this.#isSynced) return;
      this.#file.touch();
      for (const onChange of this.#handlers) onChange();
    };
    const detach = nodes.addHandler({ onAdd: changed, onUpdate: changed, onDelete: changed });
    signal.addEventListener('abort', detach, { once: true });
    void nodes.whenSynced().then(() => {
      this.#isSynced = true;
      changed();
    });
  }

  /** What an earlier agent knew. */
  async load(): Promise<void> {
    await this.#file.load();
  }

  onChange(handler: () => void): () => void {
    this.#handlers.add(handler);
    return () => void this.#handlers.delete(handler);
  }

  async save(): Promise<void> {
    await this.#file.save();
  }

  list(): readonly Node[] {
    return this.#isSynced ? this.#deps.nodes.lister.list() : this.#kept;
  }
}

const told: readonly string[] = [ingressNode.portsAnnotation, ingressNode.networksAnnotation];

/** What apps' names depend on: heartbeats change none of it. Flotilla's own page is away with the control plane. */
function keptNode({ apiVersion, kind, metadata, status }: Node): Node {
  const { name, annotations = {} } = metadata;
  const own = told.flatMap((key) => {
    const value = annotations[key];
    return value === undefined ? [] : [[key, value] as const];
  });
  const ready = isConditionTrue(status?.conditions, 'Ready') ? 'True' : 'False';
  return {
    apiVersion,
    kind,
    metadata: { name, annotations: Object.fromEntries(own) },
    spec: {},
    status: { conditions: [{ type: 'Ready', status: ready }] },
  };
}
