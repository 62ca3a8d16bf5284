// The objects that a binding gives its policy as `params`.
// Source: kubernetes apiserver pkg/admission/plugin/policy/generic/policy_dispatcher.go (CollectParams).
import type { ParamKind, ParamRef } from '#kube/api/admissionregistration.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { parseApiVersion } from '#kube/machinery/gvk.ts';
import { labelSelectorMatcher } from '#kube/machinery/selector.ts';
import type { FoundKind, KindVersions } from '../dynamic/deps.ts';

/** One run of the policy for each; undefined: a run without params. Throws an Error that says why not. */
export async function collectParams(
  paramKind: ParamKind | undefined,
  paramRef: ParamRef | undefined,
  namespace: string,
  kinds: KindVersions,
): Promise<readonly (KubeObject | undefined)[]> {
  if (paramKind === undefined || paramRef === undefined) return [undefined];
  const { apiVersion = '', kind = '' } = paramKind;
  const found = kinds.find({ ...parseApiVersion(apiVersion), kind });
  if (found === undefined)
    throw new Error(`paramKind kind \`${apiVersion}, Kind=${kind}\` not known`);
  const params = await read(found, paramRef, placeOf(found, paramRef, namespace));
  if (params.length === 0 && paramRef.parameterNotFoundAction === 'Deny')
    throw new Error('no params found for policy binding with `Deny` parameterNotFoundAction');
  return params;
}

function placeOf({ namespaced }: FoundKind, paramRef: ParamRef, namespace: string): string {
  const { namespace: given = '' } = paramRef;
  if (!namespaced) {
    if (given !== '')
      throw new Error('paramRef.namespace must not be provided for a cluster-scoped `paramKind`');
    return '';
  }
  if (given === '' && namespace === '')
    throw new Error(
      'cannot use namespaced paramRef in policy binding that matches cluster-scoped resources',
    );
  return given === '' ? namespace : given;
}

async function read(
  found: FoundKind,
  { name = '', selector }: ParamRef,
  namespace: string,
): Promise<readonly KubeObject[]> {
  if (name !== '') {
    const one = await found.get(namespace, name);
    return one === undefined ? [] : [one];
  }
  if (selector === undefined) throw new Error('one of name or selector must be provided');
  return found.list(namespace, labelSelectorMatcher(selector));
}
