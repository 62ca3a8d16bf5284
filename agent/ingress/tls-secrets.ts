// The Secrets that Ingresses name for TLS, each followed by a watch of its own: a node may read no others.
import type { Secret } from '#kube/api/core.ts';
import { Informer } from '#kube/client/informer.ts';
import type { ClientDeps } from '#kube/client/reflector.ts';
import { secrets } from '#kube/client/resources.ts';
import type { TlsName } from './routes.ts';

interface Followed {
  readonly informer: Informer<Secret>;
  readonly stop: AbortController;
}

export class TlsSecrets {
  readonly #deps: ClientDeps;
  readonly #onChange: () => void;
  /** By `namespace/name`. */
  readonly #followed = new Map<string, Followed>();

  constructor(deps: ClientDeps, onChange: () => void) {
    this.#deps = deps;
    this.#onChange = onChange;
  }

  follow(names: readonly TlsName[]): void {
    const wanted = new Map(names.map((one) => [`${one.namespace}/${one.secretName}`, one]));
    for (const [key, { stop }] of this.#followed)
      if (!wanted.has(key)) {
        stop.abort();
        this.#followed.delete(key);
      }
    for (const [key, { namespace, secretName }] of wanted) {
      if (this.#followed.has(key)) continue;
      const fieldSelector = `metadata.name=${secretName}`;
      const informer = new Informer(this.#deps, { resource: secrets, namespace, fieldSelector });
      const changed = (): void => this.#onChange();
      informer.addHandler({ onAdd: changed, onUpdate: changed, onDelete: changed });
      // One that is not there calls no handler.
      void informer.whenSynced().then(changed);
      const stop = new AbortController();
      this.#followed.set(key, { informer, stop });
      informer.start(stop.signal);
    }
  }

  get(namespace: string, name: string): Secret | undefined {
    return this.#followed.get(`${namespace}/${name}`)?.informer.lister.get(namespace, name);
  }

  /** Whether it was asked for, with an answer. */
  isKnown(namespace: string, name: string): boolean {
    return this.#followed.get(`${namespace}/${name}`)?.informer.hasSynced === true;
  }

  stop(): void {
    this.follow([]);
  }
}
