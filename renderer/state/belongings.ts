// What goes with an app when it is deleted, and what stays: the Delete dialog names both. Pure.
import type { App } from './app.ts';

export interface Belongings {
  readonly services: readonly string[];
  readonly configMapNames: readonly string[];
  /** Folders on machines: never touched. */
  readonly keptFolders: readonly string[];
}

/**
 * Services go when they lead to this app alone, which their selector tells; configuration goes
 * when it carries the app's own label and name, as the Deploy sheet makes it.
 */
export function belongings(app: App): Belongings {
  const volumes = app.object.spec?.template?.spec?.volumes ?? [];
  return {
    services: app.services.map(({ metadata }) => metadata.name),
    configMapNames: volumes
      .map(({ configMap }) => configMap?.name ?? '')
      .filter((name) => name === `${app.name}-config`),
    keptFolders: volumes.map(({ hostPath }) => hostPath?.path ?? '').filter((path) => path !== ''),
  };
}
