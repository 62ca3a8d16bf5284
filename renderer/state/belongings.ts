// What goes with an app when it is deleted, in which order, and what stays and why: the Delete
// dialog names all of it before, and does exactly that. Pure.
import type { ConfigMap } from '#kube/api/core.ts';
import type { KubeObject } from '#kube/api/object.ts';
import type { App } from './app.ts';
import { plural } from './format.ts';
import { findKept, type KeptData } from './kept-data.ts';
import { configMapNames, type Neighbours, whyNotOwn, whyNotOwnConfig } from './ownership.ts';
import { claimNames } from './volume-move.ts';
import type { WorkloadKind } from './workload.ts';

export interface RemovalStep {
  readonly kind: WorkloadKind | 'Service' | 'ConfigMap';
  readonly namespace: string;
  readonly name: string;
  /** Only this very object goes, not another that took its name meanwhile. */
  readonly uid: string | undefined;
  readonly text: string;
}
export interface Kept {
  readonly name: string;
  readonly why: string;
}
export interface Removal {
  readonly app: { readonly name: string; readonly key: string };
  /** The app first: what leads to it is of no use without it, and not the other way round. */
  readonly steps: readonly RemovalStep[];
  readonly kept: readonly Kept[];
  /** Folders on machines: never touched. */
  readonly keptFolders: readonly string[];
  /** Claims: they stay for an app to come. */
  readonly keptData: readonly KeptData[];
}

export interface RemovalSurroundings extends Neighbours {
  /** Those of the app's namespace that could be read; others stay. */
  readonly configMaps: readonly ConfigMap[];
  readonly data: readonly KeptData[];
}

export function planRemoval(app: App, around: RemovalSurroundings): Removal {
  const spec = app.object.spec?.template?.spec;
  const living = app.pods.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  const copies = living.length === 0 ? '' : ` with its ${plural(living.length, 'copy', 'copies')}`;
  const steps: RemovalStep[] = [
    stepOf(app.object, app.kind, copies === '' ? 'The app itself' : `The app${copies}`),
  ];
  const kept: Kept[] = [];
  for (const service of app.services) {
    const { name } = service.metadata;
    const why = whyNotOwn(app, service, around);
    if (why === undefined) steps.push(stepOf(service, 'Service', `Its address ${name}`));
    else kept.push({ name: `The address ${name}`, why });
  }
  for (const name of configMapNames(spec)) {
    const config = around.configMaps.find(
      ({ metadata }) => metadata.name === name && metadata.namespace === app.namespace,
    );
    if (config === undefined) continue;
    const why = whyNotOwnConfig(app, config, around);
    if (why === undefined) steps.push(stepOf(config, 'ConfigMap', `Its configuration ${name}`));
    else kept.push({ name: `The configuration ${name}`, why });
  }
  const keptFolders = (spec?.volumes ?? [])
    .map(({ hostPath }) => hostPath?.path ?? '')
    .filter((path) => path !== '');
  const keptData = [...new Set(claimNames(app))].flatMap(
    (name) => findKept(around.data, app.namespace, name) ?? [],
  );
  return { app: { name: app.name, key: app.key }, steps, kept, keptFolders, keptData };
}

function stepOf({ metadata }: KubeObject, kind: RemovalStep['kind'], text: string): RemovalStep {
  const { namespace = '', name, uid } = metadata;
  return { kind, namespace, name, uid, text };
}
