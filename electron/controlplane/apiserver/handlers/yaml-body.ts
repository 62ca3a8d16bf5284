// A YAML body as JSON would have said it. YAML lets a short text stand for an endless one: aliases
// are bounded by the library, keys that are no scalars and bodies past a limit are refused here.
// Source: sigs.k8s.io/yaml (YAML is read as JSON: keys are texts), go-yaml for the wording.
import { isScalar, parseDocument, visit } from 'yaml';
import { requestTooLarge } from '#kube/machinery/status.ts';

/** Differs: Kubernetes takes 3 MiB; here parsing that much would hold up all others for seconds. */
const limitBytes = 512 * 1024;

/** Throws 413 for what is too long, a plain Error with one line for all else that is wrong. */
export function parseYaml(text: string): unknown {
  if (text.length > limitBytes) throw requestTooLarge(limitBytes);
  // The library looks for repeated keys by comparing all with all.
  const document = parseDocument(text, { logLevel: 'error', uniqueKeys: false });
  const [error] = document.errors;
  if (error !== undefined) throw error;
  visit(document, {
    Map(_key, { items }) {
      checkKeys(items.map(({ key }) => key));
    },
  });
  return document.toJS();
}

/** A map as a key would be written out as text, and its own keys as well, without end. */
function checkKeys(keys: readonly unknown[]): void {
  const seen = new Set<string>();
  for (const key of keys) {
    if (!isScalar(key)) throw new Error('invalid map key');
    const name = String(key.value);
    if (seen.has(name)) throw new Error(`key ${JSON.stringify(name)} already set in map`);
    seen.add(name);
  }
}
