// Webhooks that may only refuse: all are asked at once, the first refusal is the answer.
// Source: kubernetes apiserver pkg/admission/plugin/webhook/validating/dispatcher.go.
import type { AdmissionPlugin } from '../chain.ts';
import type { DynamicDeps } from '../dynamic/deps.ts';
import { isExempt } from '../dynamic/matching.ts';
import { Versions } from '../dynamic/request.ts';
import { WebhookDispatch, type Asked, type Hook } from './dispatch.ts';

/** Calls under way at once for one request. */
const maxParallel = 16;

export function validatingWebhooks(deps: DynamicDeps): AdmissionPlugin {
  const dispatch = new WebhookDispatch(deps, 'validatingwebhookconfigurations');
  return {
    name: 'ValidatingAdmissionWebhook',
    handles: (attributes) => !isExempt(attributes) && dispatch.hooks().length > 0,
    async validate(attributes) {
      const versions = new Versions(attributes, deps.kinds);
      const relevant: [Hook, Asked][] = [];
      for (const hook of dispatch.hooks()) {
        const match = await dispatch.matches(hook, attributes, versions);
        if (match === undefined) continue;
        relevant.push([hook, { attributes, match, objects: await versions.in(match) }]);
      }
      for (let start = 0; start < relevant.length; start += maxParallel) {
        const batch = relevant.slice(start, start + maxParallel);
        // All are waited for: none may still be asked once the client has its answer.
        const results = await Promise.allSettled(
          batch.map(([hook, asked]) => dispatch.call(hook, asked, { mayPatch: false })),
        );
        for (const result of results) if (result.status === 'rejected') throw result.reason;
      }
    },
  };
}
