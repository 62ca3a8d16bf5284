// resourceVersion as text and number. Clients must treat it as opaque; here it is the store's
// revision in decimal. Source: kubernetes apiserver pkg/storage/api_object_versioner.go.
import { badRequest } from '#kube/machinery/status.ts';

/** '' and '0' give 0. Throws 400 for anything but a decimal number. */
export function parseResourceVersion(text: string): number {
  if (text === '') return 0;
  const revision = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(revision)) return revision;
  throw badRequest(`resourceVersion: Invalid value: ${JSON.stringify(text)}: ${why(text)}`);
}

/** Of an object that is written. Differs: Kubernetes says 500 with the same words. */
export function checkObjectVersion(text: string): void {
  if (!/^\d+$/.test(text)) throw badRequest(why(text));
}

/** In Go's words. */
function why(text: string): string {
  const problem = /^\d+$/.test(text) ? 'value out of range' : 'invalid syntax';
  return `strconv.ParseUint: parsing ${JSON.stringify(text)}: ${problem}`;
}
