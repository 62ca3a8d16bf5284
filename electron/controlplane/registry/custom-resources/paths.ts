// The simple paths of a definition (`.spec.replicas`): read, set, and what the schema says there.
import type { JSONSchemaProps } from '#kube/api/apiextensions.ts';
import { isObject, setOwn } from '#kube/machinery/equality.ts';

function namesOf(path: string): string[] {
  return path.split('.').slice(1);
}

export function valueAtPath(object: unknown, path: string): unknown {
  let value = object;
  for (const name of namesOf(path)) {
    if (!isObject(value) || !Object.hasOwn(value, name)) return undefined;
    value = value[name];
  }
  return value;
}

/** Makes the objects on the way where they are missing. Mutates. */
export function setAtPath(object: object, path: string, value: unknown): void {
  const names = namesOf(path);
  const last = names.pop();
  if (last === undefined) return;
  let target = object as Record<string, unknown>;
  for (const name of names) {
    const next = Object.hasOwn(target, name) ? target[name] : undefined;
    if (isObject(next)) target = next;
    else {
      const made: Record<string, unknown> = {};
      setOwn(target, name, made);
      target = made;
    }
  }
  setOwn(target, last, value);
}

export function schemaAtPath(schema: JSONSchemaProps, path: string): JSONSchemaProps | undefined {
  let found: JSONSchemaProps | undefined = schema;
  for (const name of namesOf(path)) {
    const properties: Record<string, JSONSchemaProps> = found?.properties ?? {};
    found = Object.hasOwn(properties, name) ? properties[name] : undefined;
  }
  return found;
}
