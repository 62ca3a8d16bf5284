// A request as webhooks and expressions are shown it: AdmissionRequest of admission.k8s.io/v1, in the
// version that was asked for.
// Source: kubernetes apiserver pkg/admission/{conversion.go,plugin/webhook/request/admissionreview.go}.
import type { KubeObject } from '#kube/api/object.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import type { AdmissionAttributes } from '../chain.ts';
import type { KindVersions } from './deps.ts';
import { namespaceOf, type RuleMatch } from './matching.ts';

/** The request's objects in one version. */
export interface VersionedObjects {
  object: KubeObject | undefined;
  readonly oldObject: KubeObject | undefined;
}

/** Converts once for each version; the request's own costs nothing. */
export class Versions {
  readonly #attributes: AdmissionAttributes;
  readonly #kinds: KindVersions;
  readonly #made = new Map<string, Promise<VersionedObjects>>();

  constructor(attributes: AdmissionAttributes, kinds: KindVersions) {
    this.#attributes = attributes;
    this.#kinds = kinds;
  }

  /** Throws a StatusError when the object can't be converted. */
  in({ kind }: RuleMatch): Promise<VersionedObjects> {
    const key = `${kind.group}/${kind.version}/${kind.kind}`;
    let made = this.#made.get(key);
    if (made === undefined) {
      made = this.#make(kind);
      this.#made.set(key, made);
    }
    return made;
  }

  /** The object has changed: what was made of it before is stale. */
  forget(): void {
    this.#made.clear();
  }

  async #make(kind: RuleMatch['kind']): Promise<VersionedObjects> {
    const { object, oldObject, kind: own } = this.#attributes;
    if (deepEqual(kind, own)) return { object, oldObject };
    const [next, old] = await Promise.all(
      [object, oldObject].map((one) =>
        one === undefined ? Promise.resolve(undefined) : this.#kinds.convert(one, kind),
      ),
    );
    return { object: next, oldObject: old };
  }
}

/** All but uid and the objects: what expressions see as `request`. */
export function admissionRequest(attributes: AdmissionAttributes, { kind, resource }: RuleMatch) {
  const { subresource, name, operation, user, dryRun, options } = attributes;
  const namespace = namespaceOf(attributes);
  return {
    kind,
    resource,
    ...(subresource === '' ? {} : { subResource: subresource }),
    requestKind: attributes.kind,
    requestResource: attributes.resource,
    ...(subresource === '' ? {} : { requestSubResource: subresource }),
    ...(name === '' ? {} : { name }),
    ...(namespace === '' ? {} : { namespace }),
    operation,
    userInfo: {
      username: user.name,
      ...(user.uid === undefined || user.uid === '' ? {} : { uid: user.uid }),
      groups: user.groups,
      ...(user.extra === undefined ? {} : { extra: user.extra }),
    },
    dryRun,
    options: options ?? null,
  };
}
