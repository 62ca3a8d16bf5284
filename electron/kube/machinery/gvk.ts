// Group, version, kind and resource: apiVersion texts and REST paths, made and taken apart.
// Must not know any particular kind.
// Source: kubernetes apimachinery pkg/runtime/schema/group_version.go, client-go rest/request.go.
import type { GroupVersionKind, GroupVersionResource } from '../api/object.ts';
import { badRequest } from './status.ts';

export interface GroupVersion {
  /** '' for the core group. */
  readonly group: string;
  readonly version: string;
}

/** `apps/v1` → { group: 'apps', version: 'v1' }; `v1` is core. Throws 400 on more than one slash. */
export function parseApiVersion(apiVersion: string): GroupVersion {
  if (apiVersion === '' || apiVersion === '/') return { group: '', version: '' };
  const parts = apiVersion.split('/');
  if (parts.length > 2) throw badRequest(`unexpected GroupVersion string: ${apiVersion}`);
  const [first = '', second] = parts;
  return second === undefined ? { group: '', version: first } : { group: first, version: second };
}

export function apiVersionOf(groupVersion: GroupVersion): string {
  const { group, version } = groupVersion;
  return group === '' ? version : `${group}/${version}`;
}

export function gvkOf(object: {
  readonly apiVersion: string;
  readonly kind: string;
}): GroupVersionKind {
  return { ...parseApiVersion(object.apiVersion), kind: object.kind };
}

/** `apps/v1, Kind=Deployment`, as Kubernetes prints a kind in messages. */
export function gvkText(gvk: GroupVersionKind): string {
  return `${gvk.group}/${gvk.version}, Kind=${gvk.kind}`;
}

export interface ResourcePath extends GroupVersionResource {
  /** Left out or '' for cluster-scoped resources and for lists over all namespaces. */
  readonly namespace?: string;
  readonly name?: string;
  readonly subresource?: string;
}

/** `/api/v1` or `/apis/apps/v1`. */
export function groupVersionPath(groupVersion: GroupVersion): string {
  const { group, version } = groupVersion;
  return group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
}

/** `/apis/apps/v1/namespaces/default/deployments/web/scale`, each segment percent-encoded. */
export function resourcePath(path: ResourcePath): string {
  const segments = [groupVersionPath(path)];
  if (isGiven(path.namespace)) segments.push('namespaces', encodeURIComponent(path.namespace));
  segments.push(path.resource);
  if (isGiven(path.name)) segments.push(encodeURIComponent(path.name));
  if (isGiven(path.subresource)) segments.push(path.subresource);
  return segments.join('/');
}

function isGiven(text: string | undefined): text is string {
  return text !== undefined && text !== '';
}
