// Deleting an app step by step, from a plan made when the person was asked. What was done stays
// done; what failed is told and tried again without repeating the rest. Outlives the app's page.
import { type ComputedRef, type Ref, computed, ref, shallowRef } from 'vue';
import * as kinds from '#kube/client/resources.ts';
import type { Resource } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import type { ConfigMap } from '#kube/api/core.ts';
import { hasReason } from '#kube/machinery/status.ts';
import type { App } from '../state/app.ts';
import { planRemoval, type Removal, type RemovalStep } from '../state/belongings.ts';
import { configMapNames } from '../state/ownership.ts';
import { failureText } from './actions.ts';
import { useCluster } from './cluster.ts';
import { useHome } from './home-data.ts';
import { useKeptData } from './kept-data.ts';

export interface AppRemoval {
  readonly plan: Ref<Removal | undefined>;
  readonly isBusy: Ref<boolean>;
  readonly failure: Ref<string>;
  readonly isDone: (step: RemovalStep) => boolean;
  /** Some of it is gone and some of it is not. */
  readonly isPartial: ComputedRef<boolean>;
  /** Reads what belongs to the app, and makes the plan. */
  ask(app: App): Promise<void>;
  /** True when everything of the plan is gone. */
  run(): Promise<boolean>;
  cancel(): void;
}

const resources: Readonly<Record<RemovalStep['kind'], Resource<never>>> = {
  Deployment: kinds.deployments as Resource<never>,
  DaemonSet: kinds.daemonSets as Resource<never>,
  ReplicationController: kinds.replicationControllers as Resource<never>,
  Service: kinds.services as Resource<never>,
  ConfigMap: kinds.configMaps as Resource<never>,
};

export function useAppRemoval(): AppRemoval {
  const { client } = useCluster();
  const { apps, pods } = useHome();
  const data = useKeptData();
  const plan = shallowRef<Removal>();
  const done = ref<ReadonlySet<RemovalStep>>(new Set());
  const isBusy = ref(false);
  const failure = ref('');
  const isPartial = computed(() => done.value.size > 0);

  async function ask(app: App): Promise<void> {
    done.value = new Set();
    failure.value = '';
    const configMaps = await readConfigMaps(client, app);
    plan.value = planRemoval(app, {
      apps: apps.value,
      pods: pods.value,
      configMaps,
      data: data.value,
    });
  }

  async function run(): Promise<boolean> {
    isBusy.value = true;
    failure.value = '';
    try {
      for (const step of plan.value?.steps ?? []) {
        if (done.value.has(step)) continue;
        await remove(client, step);
        done.value = new Set([...done.value, step]);
      }
      plan.value = undefined;
      return true;
    } catch (error) {
      failure.value = failureText(error);
      return false;
    } finally {
      isBusy.value = false;
    }
  }

  function cancel(): void {
    if (!isBusy.value) plan.value = undefined;
  }

  const isDone = (step: RemovalStep): boolean => done.value.has(step);
  return { plan, isBusy, failure, isDone, isPartial, ask, run, cancel };
}

async function remove(client: RestClient, step: RemovalStep): Promise<void> {
  const { namespace, name, uid } = step;
  try {
    await client.delete(
      resources[step.kind],
      { namespace, name },
      {
        propagationPolicy: 'Background',
        ...(uid !== undefined && { preconditions: { uid } }),
      },
    );
  } catch (error) {
    // Gone already, or gone and replaced by another object of that name, which is not ours.
    if (!hasReason(error, 'NotFound') && !hasReason(error, 'Conflict')) throw error;
  }
}

/** What can't be read, for whatever reason, is not known to be the app's, and so it stays. */
async function readConfigMaps(client: RestClient, app: App): Promise<ConfigMap[]> {
  const { namespace } = app;
  const found = await Promise.all(
    configMapNames(app.object.spec?.template?.spec).map(async (name) => {
      try {
        return await client.get(kinds.configMaps, { namespace, name });
      } catch {
        return undefined;
      }
    }),
  );
  return found.filter((config) => config !== undefined);
}
