// Changing an app's settings: its form as the cluster has it, live, and all writes that a change
// needs. Everything is tried by dry run before anything is written, so that a refusal changes nothing.
import { type ComputedRef, type Ref, computed, ref, watch } from 'vue';
import * as kinds from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { StatusError } from '#kube/machinery/status.ts';
import type { App } from '../state/app.ts';
import type { DeployForm } from '../state/deploy-form.ts';
import { type FormErrors, formErrorsOf, noErrors } from '../state/field-errors.ts';
import { whyNotOwn } from '../state/ownership.ts';
import { describeChanges, type SettingChange } from '../state/settings-changes.ts';
import { settingsFormOf } from '../state/settings-form.ts';
import { settingsPatch } from '../state/settings-patch.ts';
import { planServices, type ServiceWrite } from '../state/settings-services.ts';
import { claimsToMake, type ConfigWrite, configWrite } from '../state/settings-storage.ts';
import { failureText, workloadResources } from './actions.ts';
import { useCluster } from './cluster.ts';
import { createdFirst, LeftoverError, type Write } from './deploy-objects.ts';
import { useHome } from './home-data.ts';
import { useResources } from './resources.ts';

export interface Settings {
  readonly form: Ref<DeployForm>;
  readonly changes: ComputedRef<readonly SettingChange[]>;
  readonly errors: Ref<FormErrors>;
  readonly isBusy: Ref<boolean>;
  readonly isSaved: Ref<boolean>;
  /** Services that lead to this app, but are not its alone, and why: left as they are. */
  readonly foreign: ComputedRef<readonly { readonly name: string; readonly why: string }[]>;
  putBack(): void;
  apply(nowMs: number): Promise<void>;
}

export function useSettings(app: () => App): Settings {
  const { client } = useCluster();
  const { apps, pods } = useHome();
  const services = useResources(kinds.services);
  const configMaps = useResources(kinds.configMaps);
  const own = computed(() => app().services.filter((one) => reasonAgainst(one) === undefined));
  const foreign = computed(() =>
    app().services.flatMap((service) => {
      const why = reasonAgainst(service);
      return why === undefined ? [] : [{ name: service.metadata.name, why }];
    }),
  );
  const configs = computed(() =>
    configMaps.items.value.filter(({ metadata }) => metadata.namespace === app().namespace),
  );
  const current = computed(() =>
    settingsFormOf(app(), { own: own.value, configMaps: configs.value }),
  );
  const form = ref<DeployForm>(structuredClone(current.value));
  const errors = ref<FormErrors>(noErrors);
  const isBusy = ref(false);
  const isSaved = ref(false);
  const changes = computed(() => describeChanges(current.value, form.value));

  function reasonAgainst(service: App['services'][number]): string | undefined {
    return whyNotOwn(app(), service, { apps: apps.value, pods: pods.value });
  }

  function putBack(): void {
    form.value = structuredClone(current.value);
    errors.value = noErrors;
  }

  function writes(nowMs: number): Write[] {
    const { namespace, name, kind, object } = app();
    const taken = services.items.value
      .filter(({ metadata }) => metadata.namespace === namespace)
      .map(({ metadata }) => metadata.name);
    const config = configWrite(object, form.value.volumes, configs.value);
    const patch = settingsPatch(object, form.value, { configMaps: configs.value, nowMs });
    return [
      ...(config === undefined ? [] : [writeConfig(client, namespace, config)]),
      createdFirst(client, claimsToMake(object, form.value.volumes), (dryRun) =>
        client.patch(workloadResources[kind], { namespace, name }, patch, { dryRun }),
      ),
      ...planServices(app(), form.value.ports, { own: own.value, taken }).map((write) =>
        writeService(client, namespace, write),
      ),
    ];
  }

  async function apply(nowMs: number): Promise<void> {
    isBusy.value = true;
    errors.value = noErrors;
    try {
      const all = writes(nowMs);
      for (const write of all) await write(true);
      for (const write of all) await write(false);
      isSaved.value = true;
    } catch (error) {
      errors.value = settingsErrors(error, form.value);
    } finally {
      isBusy.value = false;
    }
  }

  /** Untouched fields follow the cluster; touched ones stay what was typed. */
  watch(current, (now, before) => {
    const isUntouched = describeChanges(before, form.value).length === 0;
    if (isUntouched || describeChanges(now, form.value).length === 0) putBack();
  });
  watch(form, () => (isSaved.value &&= changes.value.length === 0), { deep: true });
  return { form, changes, errors, isBusy, isSaved, foreign, putBack, apply };
}

function writeConfig(client: RestClient, namespace: string, write: ConfigWrite): Write {
  return async (dryRun) => {
    if (write.verb === 'create')
      return await client.create(kinds.configMaps, write.config, { dryRun });
    const at = { namespace, name: write.name };
    return await client.patch(kinds.configMaps, at, write.patch, { dryRun });
  };
}

function writeService(client: RestClient, namespace: string, write: ServiceWrite): Write {
  return async (dryRun) => {
    switch (write.verb) {
      case 'create':
        return await client.create(kinds.services, write.service, { dryRun });
      case 'patch': {
        const at = { namespace, name: write.name };
        return await client.patch(kinds.services, at, write.patch, { dryRun });
      }
      case 'delete': {
        const { name, uid } = write.service.metadata;
        const preconditions = uid === undefined ? {} : { uid };
        return await client.delete(kinds.services, { namespace, name }, { dryRun, preconditions });
      }
    }
  };
}

function settingsErrors(error: unknown, form: DeployForm): FormErrors {
  if (error instanceof LeftoverError) {
    const { fields, other } = settingsErrors(error.cause, form);
    return { fields, other: [...other, `${error.message}.`] };
  }
  if (error instanceof StatusError && error.reason === 'Conflict') {
    const text =
      'Somebody else changed this app meanwhile, so nothing of yours was applied over it. ' +
      'What you see compares with how it is now: look once more, then apply again.';
    return { fields: {}, other: [text] };
  }
  if (error instanceof StatusError) return formErrorsOf(error.status, form);
  return { fields: {}, other: [failureText(error)] };
}
