// What would change between two forms, line by line, in words. Pure.
import type { DeployForm } from './deploy-form.ts';

export interface SettingChange {
  readonly label: string;
  readonly before: string;
  readonly after: string;
  /** Whether copies are replaced for it. */
  readonly isRestart: boolean;
}

export function describeChanges(before: DeployForm, after: DeployForm): SettingChange[] {
  const changes: SettingChange[] = [];
  function compare(label: string, from: string, to: string, isRestart = true): void {
    if (from !== to) changes.push({ label, before: from, after: to, isRestart });
  }
  compare('Image', before.image, after.image);
  compare('Copies', String(before.copies), String(after.copies), false);
  compare('Memory limit', before.memoryLimit, after.memoryLimit);
  compare('Processor limit', before.cpuLimit, after.cpuLimit);
  const old = new Map(before.variables.map(({ name, value }) => [name, value]));
  const next = new Map(
    after.variables.filter(({ name }) => name !== '').map(({ name, value }) => [name, value]),
  );
  for (const name of new Set([...old.keys(), ...next.keys()]))
    compare(`Variable ${name}`, textOf(name, old.get(name)), textOf(name, next.get(name)));
  return changes;
}

function textOf(name: string, value: string | undefined): string {
  return value === undefined ? '' : `${name}=${value}`;
}
