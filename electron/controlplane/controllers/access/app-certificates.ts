// Certificates for the names of apps. One part publishes whom to trust for them; the other approves and signs
// what the nodes ask for, of which each name has to be that of an Ingress that exists.
import type { CertificateSigningRequest } from '#kube/api/certificates.ts';
import type { ConfigMap } from '#kube/api/core.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { Controller } from '#kube/client/controller.ts';
import {
  certificateSigningRequests,
  configMaps,
  ingressClasses,
  ingresses,
} from '#kube/client/resources.ts';
import {
  appDomains,
  appHosts,
  appsCaMap,
  appSigner,
  homeDomainsAnnotation,
  isAppName,
  isNameOf,
} from '#kube/machinery/app-names.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { recorderFor, type ControllerDeps, type RunnableController } from '../deps.ts';
import { retryDelayMs } from './certificate-approval.ts';

const ref = { namespace: appsCaMap.namespace, name: appsCaMap.name };
const ownMap = { namespace: ref.namespace, fieldSelector: `metadata.name=${ref.name}` };
const annotations = {
  'kubernetes.io/description':
    'The certificate authority of the names of apps, for browsers and phones to trust: the issuer, then the root.',
};
/** Long before a root ends. */
const lookAgainMs = 86_400_000;

export function createAppsAuthorityController(deps: ControllerDeps): RunnableController {
  const { client, clock, logger, authority } = deps;
  const maps = deps.informers.informer(configMaps, ownMap);
  const classes = deps.informers.informer(ingressClasses);
  const events = recorderFor(deps, 'apps-authority');
  const controller = new Controller({ name: 'apps-authority', clock, logger, reconcile });
  controller.watch(maps, () => [ref.name]);
  controller.watch(classes, () => [ref.name]);
  controller.enqueue(ref.name);

  async function reconcile() {
    const { domains, mistakes } = appDomains(classes.lister.list());
    for (const one of classes.lister.list())
      for (const mistake of mistakes)
        if (one.metadata.annotations?.[homeDomainsAnnotation] !== undefined)
          events.event(one, 'Warning', 'NotADomain', mistake);
    const found = maps.lister.get(ref.namespace, ref.name);
    const chain = await authority.apps.chain(found?.data?.[appsCaMap.key], domains);
    if (found?.data?.[appsCaMap.key] !== chain) await write(found, chain);
    return { requeueAfterMs: lookAgainMs };
  }

  async function write(found: ConfigMap | undefined, chain: string): Promise<void> {
    const data = { ...found?.data, [appsCaMap.key]: chain };
    const made: ConfigMap = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { ...ref, annotations },
      data,
    };
    try {
      if (found === undefined) await client.create(configMaps, made);
      else await client.update(configMaps, { ...found, data });
    } catch (error) {
      // Another leader was faster: what it wrote comes by the watch.
      if (!hasReason(error, 'AlreadyExists')) throw error;
    }
  }
  return controller;
}

export function createAppCertificateController(deps: ControllerDeps): RunnableController {
  const { client, clock, logger, authority } = deps;
  const requests = deps.informers.informer(certificateSigningRequests);
  const maps = deps.informers.informer(configMaps, ownMap);
  const classes = deps.informers.informer(ingressClasses);
  const all = deps.informers.informer(ingresses);
  const controller = new Controller({ name: 'app-certificates', clock, logger, reconcile });
  controller.watch(requests);
  controller.watchWith(maps, {});
  controller.watchWith(classes, {});
  controller.watchWith(all, {});

  async function reconcile(name: string) {
    const request = requests.lister.get('', name);
    if (request === undefined || request.spec.signerName !== appSigner || isDone(request))
      return {};
    if (!has(request, 'Approved') && !mayBe(request))
      // The Ingress may be on its way here.
      return { requeueAfterMs: retryDelayMs(request, clock.now()) };
    // Approved, it comes again by the watch.
    if (has(request, 'Approved'))
      await client.updateStatus(certificateSigningRequests, await answered(request));
    else await approve(request);
    return {};
  }

  /** Of a node, for names of Ingresses that are there and that the authority can vouch for. */
  function mayBe({ spec }: CertificateSigningRequest): boolean {
    const asked = authority.examine(requested(spec));
    if ('refused' in asked || spec.groups?.includes('system:nodes') !== true) return false;
    const { domains } = appDomains(classes.lister.list());
    const hosts = appHosts(all.lister.list(), classes.lister.list());
    return asked.dnsNames.every((one) => isAppName(one, domains) && isNameOf(one, hosts));
  }

  async function approve(request: CertificateSigningRequest): Promise<void> {
    const { name } = request.metadata;
    const message = 'Each name is that of an Ingress.';
    await client.updateSubresource(certificateSigningRequests, { name }, 'approval', {
      ...request,
      status: withCondition(request, { type: 'Approved', reason: 'AutoApproved', message }),
    });
  }

  async function answered(request: CertificateSigningRequest): Promise<CertificateSigningRequest> {
    const { domains } = appDomains(classes.lister.list());
    const published = maps.lister.get(ref.namespace, ref.name)?.data?.[appsCaMap.key];
    const chain = await authority.apps.chain(published, domains);
    const result = authority.apps.certify(requested(request.spec), chain);
    if ('certificatePem' in result)
      return {
        ...request,
        status: { ...request.status, certificate: btoa(result.certificatePem) },
      };
    const failure = { reason: 'SignerValidationFailure', message: result.refused };
    return { ...request, status: withCondition(request, { type: 'Failed', ...failure }) };
  }

  function withCondition(
    { status = {} }: CertificateSigningRequest,
    condition: { readonly type: string; readonly reason: string; readonly message: string },
  ): CertificateSigningRequest['status'] {
    const now = rfc3339(clock.now());
    const times = { lastUpdateTime: now, lastTransitionTime: now };
    const added = { status: 'True', ...condition, ...times };
    return { ...status, conditions: [...(status.conditions ?? []), added] };
  }
  return controller;
}

function requested({ request, signerName, usages = [] }: CertificateSigningRequest['spec']) {
  return { requestPem: atob(request), signerName, usages };
}

function has({ status = {} }: CertificateSigningRequest, type: string): boolean {
  return (status.conditions ?? []).some((one) => one.type === type);
}

function isDone(request: CertificateSigningRequest): boolean {
  const isIssued = (request.status?.certificate ?? '') !== '';
  return isIssued || has(request, 'Denied') || has(request, 'Failed');
}
