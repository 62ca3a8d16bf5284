// An app's settings as the form that the Deploy sheet has too: of its first container. Pure.
import type { ConfigMap, Service } from '#kube/api/core.ts';
import type { App } from './app.ts';
import { type DeployForm, emptyForm } from './deploy-form.ts';
import { portsOf } from './settings-services.ts';
import { storageOf } from './settings-storage.ts';
import { mainContainer } from './workload.ts';

export interface SettingsSources {
  /** Services that lead to this app alone. */
  readonly own: readonly Service[];
  /** Those of the app's namespace. */
  readonly configMaps: readonly ConfigMap[];
}

export function settingsFormOf(app: App, { own, configMaps }: SettingsSources): DeployForm {
  const workload = app.object;
  const container = mainContainer(workload);
  const limits = container?.resources?.limits ?? {};
  return {
    ...emptyForm(),
    name: app.name,
    namespace: app.namespace,
    image: container?.image ?? '',
    copies: workload.kind === 'DaemonSet' ? 1 : (workload.spec?.replicas ?? 1),
    ports: portsOf(app, own),
    variables: (container?.env ?? []).map(({ name, value = '' }) => ({ name, value })),
    volumes: storageOf(workload, configMaps),
    memoryLimit: String(limits['memory'] ?? ''),
    cpuLimit: String(limits['cpu'] ?? ''),
  };
}
