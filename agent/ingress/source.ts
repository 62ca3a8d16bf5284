// The objects that routes are made of: the cluster's as informers know them, and, until all of them were heard of
// once, those that an earlier agent kept. So a machine that starts while the API server is away serves its apps.
import type { Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import type { Ingress, IngressClass } from '#kube/api/networking.ts';
import type { KubeObject } from '#kube/api/object.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { EventHandlers } from '#kube/client/informer.ts';
import { KeptFile, type FileAccess } from '../kept-file.ts';
import { keptObjects, type IngressObjects } from './kept-objects.ts';
import { routeTable } from './routes.ts';

/** What this needs of an informer. */
export interface ObjectSource<T extends KubeObject> {
  readonly lister: { list(): T[] };
  readonly hasSynced: boolean;
  addHandler(handlers: EventHandlers<T>): () => void;
  whenSynced(): Promise<void>;
}

export interface IngressSourceDeps {
  readonly ingresses: ObjectSource<Ingress>;
  readonly classes: ObjectSource<IngressClass>;
  readonly services: ObjectSource<Service>;
  readonly endpointSlices: ObjectSource<EndpointSlice>;
  readonly file: FileAccess;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onChange: () => void;
}

const noObjects: IngressObjects = { ingresses: [], classes: [], services: [], endpointSlices: [] };
const nowhere = { nodeName: '', zone: '' };

export class IngressSource {
  readonly #deps: IngressSourceDeps;
  readonly #file: KeptFile<IngressObjects>;
  #remembered: IngressObjects | undefined;

  constructor(deps: IngressSourceDeps) {
    this.#deps = deps;
    this.#file = new KeptFile({
      about: 'Ingresses',
      content: () => keptObjects(this.objects),
      remember: (objects) => {
        // Throws on what makes no sense, before anybody relies on it.
        routeTable({ ...objects, place: nowhere });
        this.#remembered = objects;
      },
      ...deps.file,
      clock: deps.clock,
      logger: deps.logger,
    });
  }

  /** Answers a function that ends it. */
  start(): () => void {
    const { ingresses, classes, services, endpointSlices, onChange } = this.#deps;
    const changed = (): void => {
      if (this.isCurrent) {
        this.#remembered = undefined;
        this.#file.touch();
      }
      onChange();
    };
    const handlers = { onAdd: changed, onUpdate: changed, onDelete: changed };
    const detach = [
      ingresses.addHandler(handlers),
      classes.addHandler(handlers),
      services.addHandler(handlers),
      endpointSlices.addHandler(handlers),
    ];
    // A kind of which there is none calls no handler.
    void Promise.all(this.#sources.map((source) => source.whenSynced())).then(changed);
    void this.#file.load().then(onChange);
    return () => {
      for (const remove of detach) remove();
    };
  }

  /** All of them were heard of by this agent. */
  get isCurrent(): boolean {
    return this.#sources.every(({ hasSynced }) => hasSynced);
  }

  /** Whether anything is known. */
  get isKnown(): boolean {
    return this.isCurrent || this.#remembered !== undefined;
  }

  get objects(): IngressObjects {
    const { ingresses, classes, services, endpointSlices } = this.#deps;
    if (!this.isCurrent) return this.#remembered ?? noObjects;
    return {
      ingresses: ingresses.lister.list(),
      classes: classes.lister.list(),
      services: services.lister.list(),
      endpointSlices: endpointSlices.lister.list(),
    };
  }

  /** What is known is written down. */
  async save(): Promise<void> {
    await this.#file.save();
  }

  get #sources() {
    const { ingresses, classes, services, endpointSlices } = this.#deps;
    return [ingresses, classes, services, endpointSlices];
  }
}
