// A webhook over HTTPS on this machine, with an authority of its own.
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { systemClock } from '#kube/base/clock.ts';
import { systemRandom } from '#kube/base/random.ts';
import { issueCertificate } from '#platform/certificate.ts';
import type { Json } from './api.ts';

export interface WebhookServer {
  /** Without a path. */
  readonly url: string;
  /** For clientConfig. */
  readonly caBundle: string;
  /** Everything it was asked, in order: path and body. */
  readonly asked: { readonly path: string; readonly review: Json }[];
  stop(): Promise<void>;
}

/** `answer`: text as it is, anything else as JSON; a number as a status. A promise is waited for. */
export async function startWebhook(
  answer: (path: string, review: Json) => unknown,
): Promise<WebhookServer> {
  const now = systemClock.now();
  const validity = { notBeforeMs: now - 3_600_000, notAfterMs: now + 3_600_000 };
  const authority = { commonName: 'webhook-ca', usages: ['ca'], ...validity } as const;
  const ca = issueCertificate(authority, undefined, systemRandom);
  const serving = issueCertificate(
    {
      commonName: 'webhook',
      usages: ['server'],
      dnsNames: ['localhost', 'hook.default.svc'],
      ipAddresses: ['127.0.0.1'],
      ...validity,
    },
    ca,
    systemRandom,
  );
  const asked: WebhookServer['asked'] = [];
  const server = createServer(
    { key: serving.keyPem, cert: serving.certPem },
    (request, response) => {
      void (async () => {
        let text = '';
        for await (const chunk of request) text += String(chunk);
        const { pathname: path } = new URL(request.url ?? '', 'https://x');
        const review: Json = JSON.parse(text);
        asked.push({ path, review });
        const given = await answer(path, review);
        if (typeof given === 'number') response.statusCode = given;
        response.setHeader('content-type', 'application/json');
        response.end(typeof given === 'string' ? given : JSON.stringify(given));
      })();
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    caBundle: Buffer.from(ca.certPem).toString('base64'),
    asked,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** An AdmissionReview that lets the request pass, changed by `patch`; `more` goes into the response. */
export function allow(review: Json, patch?: readonly object[], more: object = {}): object {
  const { uid } = review.request;
  return {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    response: {
      uid,
      allowed: true,
      ...(patch === undefined
        ? {}
        : {
            patchType: 'JSONPatch',
            patch: Buffer.from(JSON.stringify(patch)).toString('base64'),
          }),
      ...more,
    },
  };
}

export function deny(review: Json, status?: object): object {
  return allow(review, undefined, { allowed: false, ...(status === undefined ? {} : { status }) });
}
