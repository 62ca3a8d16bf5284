// What controllers are given of the cluster's certificate authority: to judge, to sign, never its key.
import { certificateExpiryMs, pairProblem } from '#platform/certificate.ts';
import { decideSigning } from '#platform/certificate-signing.ts';
import type { ClusterPki } from '#platform/pki.ts';
import type { ServiceAccountTokens } from './apiserver/identity/tokens/service-account-tokens.ts';
import type { ClusterAuthority } from './controllers/deps.ts';

export function authorityOf(pki: ClusterPki, tokens: ServiceAccountTokens): ClusterAuthority {
  const apps = pki.apps();
  return {
    caPem: pki.caPem,
    secretToken: (...subject) => tokens.issueForSecret(...subject),
    examine(asked) {
      const decision = decideSigning(asked);
      return 'refused' in decision ? decision : decision.request;
    },
    certify({ seconds, ...asked }) {
      const decision = decideSigning(asked);
      if ('refused' in decision) return decision;
      return { certificatePem: pki.certify(decision.request, decision.usages, seconds) };
    },
    apps: {
      chain: (...wanted) => apps.chain(...wanted),
      certify(asked, chain) {
        const decision = decideSigning(asked);
        if ('refused' in decision) return decision;
        return { certificatePem: apps.certify(decision.request, chain) };
      },
    },
    pairProblem,
    expiryOf: certificateExpiryMs,
  };
}
