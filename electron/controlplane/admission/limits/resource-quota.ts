// ResourceQuota: what is created is charged to the quotas of its namespace before it is stored, by a
// put of their status that fails if anybody else wrote them: so no number of writers at once gets
// past a limit. Writes that wait for the same namespace are charged together, by one put.
// Runs last: what others refuse must not be charged. A write that fails after it stays charged
// until the controller counts again.
// Source: kubernetes apiserver pkg/admission/plugin/resourcequota/{admission,controller}.go.
import type { ResourceQuota } from '#kube/api/core.ts';
import type { GroupVersionResource, KubeObject } from '#kube/api/object.ts';
import { assert } from '#kube/base/assert.ts';
import type { Clock } from '#kube/base/clock.ts';
import { isSameAmounts } from '#kube/machinery/quota/amounts.ts';
import { conflict, hasReason, staleMessage } from '#kube/machinery/status.ts';
import type { AdmissionAttributes, AdmissionPlugin, ObjectReader } from '../chain.ts';
import { chargeQuotas, type ChargedWrite } from './quota-check.ts';

export interface QuotaDeps {
  readonly reader: ObjectReader;
  /** Puts an object's status if it still is as it was read. Throws 404 and 409. */
  readonly writeStatus: (resource: GroupVersionResource, object: KubeObject) => Promise<void>;
  readonly clock: Clock;
}

const resourceQuotas = { group: '', version: 'v1', resource: 'resourcequotas' };
/** Only other members and the controller write in between. */
const attempts = 8;

export function resourceQuota(deps: QuotaDeps): AdmissionPlugin {
  const desk = new ChargeDesk(deps);
  return {
    name: 'ResourceQuota',
    handles: isCharged,
    async validate(attributes) {
      const { object, namespace } = attributes;
      if (deps.reader.list(resourceQuotas, namespace).length === 0) return;
      assert(object, 'a create and an update have an object');
      await desk.charge({ ...attributes, object });
    },
  };
}

/** What a quota can be about, beside the number of objects. */
const changing = new Set(['services', 'persistentvolumeclaims']);

function isCharged({ operation, resource, subresource, namespace }: AdmissionAttributes): boolean {
  const { group, resource: plural } = resource;
  if (namespace === '' || isUncounted(resource)) return false;
  const isCore = group === '';
  if (subresource === '')
    return operation === 'CREATE' || (operation === 'UPDATE' && isCore && changing.has(plural));
  if (operation !== 'UPDATE' || !isCore) return false;
  return (
    (plural === 'pods' && subresource === 'resize') ||
    (plural === 'persistentvolumeclaims' && subresource === 'status')
  );
}

/** Events come and go by themselves; reviews are kept nowhere. */
function isUncounted({ group, resource }: GroupVersionResource): boolean {
  return (
    group === 'authorization.k8s.io' ||
    (resource === 'events' && (group === '' || group === 'events.k8s.io'))
  );
}

interface Waiter {
  readonly write: ChargedWrite;
  readonly admit: () => void;
  readonly refuse: (error: unknown) => void;
}

class ChargeDesk {
  readonly #deps: QuotaDeps;
  /** Namespaces that are worked on now, and who has come since. */
  readonly #waiting = new Map<string, Waiter[]>();

  constructor(deps: QuotaDeps) {
    this.#deps = deps;
  }

  charge(write: ChargedWrite): Promise<void> {
    const { namespace } = write;
    return new Promise((admit, refuse) => {
      const waiter = { write, admit, refuse };
      const waiting = this.#waiting.get(namespace);
      if (waiting === undefined) void this.#work(namespace, waiter);
      else waiting.push(waiter);
    });
  }

  async #work(namespace: string, first: Waiter): Promise<void> {
    const waiting: Waiter[] = [first];
    this.#waiting.set(namespace, waiting);
    while (waiting.length > 0) {
      const batch = waiting.splice(0);
      try {
        await this.#charge(namespace, batch);
      } catch (error) {
        // Those that have their answer don't hear this one.
        for (const { refuse } of batch) refuse(error);
      }
    }
    this.#waiting.delete(namespace);
  }

  async #charge(namespace: string, batch: readonly Waiter[]): Promise<void> {
    let open = batch;
    /** Those that are still to be put; at first all. */
    let wanted: ReadonlySet<string> | undefined;
    for (let attempt = 1; attempt <= attempts; attempt++) {
      const quotas = await this.#read(namespace, wanted);
      const { charged, waiters } = this.#sum(quotas, open);
      const failed = await this.#put(quotas, charged);
      if (failed.size === 0) {
        for (const { admit } of waiters) admit();
        return;
      }
      open = waiters;
      wanted = failed;
    }
    throw conflict(resourceQuotas, [...(wanted ?? [])].join(', '), staleMessage);
  }

  /** Which quotas there are is known from the cache; what they say is read anew. */
  async #read(
    namespace: string,
    wanted: ReadonlySet<string> | undefined,
  ): Promise<ResourceQuota[]> {
    const { reader } = this.#deps;
    const names = reader
      .list(resourceQuotas, namespace)
      .map(({ metadata }) => metadata.name)
      .filter((name) => wanted?.has(name) ?? true);
    const found = await Promise.all(
      names.map((name) => reader.get(resourceQuotas, namespace, name)),
    );
    return found.filter((quota) => quota !== undefined) as ResourceQuota[];
  }

  /** Answers those whom no put can change any more; the others are `waiters`. */
  #sum(quotas: readonly ResourceQuota[], open: readonly Waiter[]) {
    const nowMs = this.#deps.clock.now();
    const waiters: Waiter[] = [];
    let charged = quotas;
    for (const waiter of open) {
      try {
        const next = chargeQuotas(charged, waiter.write, nowMs);
        if (next === charged || waiter.write.dryRun) {
          waiter.admit();
          continue;
        }
        charged = next;
        waiters.push(waiter);
      } catch (error) {
        waiter.refuse(error);
      }
    }
    return { charged, waiters };
  }

  /** The names of those that somebody else wrote meanwhile. */
  async #put(
    before: readonly ResourceQuota[],
    after: readonly ResourceQuota[],
  ): Promise<ReadonlySet<string>> {
    const failed = new Set<string>();
    const changed = after.filter(
      (quota, index) => !isSameAmounts(quota.status?.used, before[index]?.status?.used),
    );
    for (const quota of changed)
      try {
        await this.#deps.writeStatus(resourceQuotas, quota);
      } catch (error) {
        if (!hasReason(error, 'Conflict') && !hasReason(error, 'NotFound')) throw error;
        failed.add(quota.metadata.name);
      }
    return failed;
  }
}
