// resourceVersion as text and number. Clients must treat it as opaque; here it is the store's
// revision in decimal. Source: kubernetes apiserver pkg/storage/api_object_versioner.go.
import { badRequest } from '#kube/machinery/status.ts';

/** '' and '0' give 0. Throws 400 for anything but a decimal number. */
export function parseResourceVersion(text: string): number {
  if (text === '') return 0;
  const revision = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(revision)) return revision;
  const why = /^\d+$/.test(text) ? 'value out of range' : 'invalid syntax';
  const quoted = JSON.stringify(text);
  throw badRequest(
    `resourceVersion: Invalid value: ${quoted}: strconv.ParseUint: parsing ${quoted}: ${why}`,
  );
}
