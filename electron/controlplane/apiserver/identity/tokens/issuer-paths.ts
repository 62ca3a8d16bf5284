// How others check the cluster's tokens without asking it: OpenID Connect's discovery.
// Source: kubernetes pkg/serviceaccount/openidmetadata.go, OpenID Connect Discovery 1.0 §3.
import { methodNotAllowedHere, pageNotFound } from '#kube/machinery/status.ts';
import type { Route } from '../../documents/paths.ts';
import type { ApiRequest, ApiResponse } from '../../http.ts';
import type { TokenKeys } from './jwt.ts';

const configurationPath = '/.well-known/openid-configuration';
const keysPath = '/openid/v1/jwks';

export interface IssuerPathsDeps {
  readonly keys: TokenKeys;
  readonly issuer: string;
  /** `host:port` of the API server. */
  readonly address: string;
}

export function issuerPaths({ keys, issuer, address }: IssuerPathsDeps): readonly Route[] {
  const configuration = {
    issuer,
    jwks_uri: `https://${address}${keysPath}`,
    response_types_supported: ['id_token'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['ES256'],
  };
  return [
    page(configurationPath, 'application/json', configuration),
    page(keysPath, 'application/jwk-set+json', { keys: keys.jwks() }),
  ];
}

function page(path: string, type: string, value: object): Route {
  const body = JSON.stringify(value);
  return {
    prefix: path,
    async answer(request: ApiRequest): Promise<ApiResponse> {
      if (request.path !== path) throw pageNotFound();
      if (request.method !== 'GET' && request.method !== 'HEAD') throw methodNotAllowedHere();
      return { status: 200, headers: { 'content-type': type, 'cache-control': 'public' }, body };
    },
  };
}
