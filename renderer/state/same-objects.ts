// Whether two lists of objects say the same, whatever the order of their fields. Pure.
import { deepEqual } from '#kube/machinery/equality.ts';
import type { KubeObject } from '#kube/api/object.ts';

export function sameObjects(a: readonly KubeObject[], b: readonly KubeObject[]): boolean {
  if (a.length !== b.length) return false;
  const byName = new Map(b.map((object) => [nameOf(object), object]));
  return a.every((object) => {
    const other = byName.get(nameOf(object));
    return other !== undefined && deepEqual(object, other);
  });
}

function nameOf({ kind, metadata }: KubeObject): string {
  return `${kind}/${metadata.namespace ?? 'default'}/${metadata.name}`;
}
