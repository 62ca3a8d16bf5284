// JSON Web Tokens, as far as service accounts need them: ES256 only, whatever a token says of itself.
// Source: RFC 7515, RFC 7518 §3.4, kubernetes pkg/serviceaccount/jwt.go (key ids).
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto';
import { privateKeysIn } from '#platform/certificate.ts';

export type Claims = Readonly<Record<string, unknown>>;

/**
 * The keys of the cluster's tokens: the first signs, all verify, so that one can take another's place while
 * tokens of the old one live on. Every member of the control plane has the same.
 */
export class TokenKeys {
  readonly #keys: readonly TokenKey[];
  readonly #signing: TokenKey;

  /** One PEM after the other. Throws when there is none, or one is not of the curve P-256. */
  constructor(pems: string) {
    this.#keys = privateKeysIn(pems).map((pem) => new TokenKey(pem));
    const [first] = this.#keys;
    if (first === undefined) throw new Error('there is no key for service-account tokens');
    this.#signing = first;
  }

  sign(claims: Claims): string {
    return this.#signing.sign(claims);
  }

  /** By the key that the token names, or by any if it names none. */
  isSigned(token: ParsedToken): boolean {
    return this.#keys.some(
      (key) => (token.keyId === undefined || token.keyId === key.id) && key.isSigned(token),
    );
  }

  /** RFC 7517. */
  jwks(): readonly object[] {
    return this.#keys.map((key) => key.jwk());
  }
}

class TokenKey {
  readonly id: string;
  readonly #private: KeyObject;
  readonly #public: KeyObject;

  /** Throws when the PEM holds no key of the curve P-256. */
  constructor(keyPem: string) {
    this.#private = createPrivateKey(keyPem);
    this.#public = createPublicKey(this.#private);
    if (this.#public.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
      throw new Error('the key for service-account tokens is not of the curve P-256');
    const spki = this.#public.export({ type: 'spki', format: 'der' });
    this.id = createHash('sha256').update(spki).digest('base64url');
  }

  sign(claims: Claims): string {
    const head = encode({ alg: 'ES256', kid: this.id });
    const signed = `${head}.${encode(claims)}`;
    const key = { key: this.#private, dsaEncoding: 'ieee-p1363' } as const;
    return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`;
  }

  isSigned({ signed, signature }: ParsedToken): boolean {
    const key = { key: this.#public, dsaEncoding: 'ieee-p1363' } as const;
    return verify('sha256', Buffer.from(signed), key, signature);
  }

  jwk(): object {
    return { use: 'sig', kid: this.id, alg: 'ES256', ...this.#public.export({ format: 'jwk' }) };
  }
}

export interface ParsedToken {
  /** Of the key that is said to have signed it. */
  readonly keyId: string | undefined;
  readonly claims: Claims;
  readonly signed: string;
  readonly signature: Uint8Array;
}

/** Undefined: not such a token. Nothing is verified. */
export function parseToken(token: string): ParsedToken | undefined {
  const parts = token.split('.');
  const [head = '', body = '', signature = ''] = parts;
  if (parts.length !== 3 || signature === '') return undefined;
  const header = decode(head);
  const claims = decode(body);
  if (header?.['alg'] !== 'ES256' || claims === undefined) return undefined;
  const keyId = typeof header['kid'] === 'string' ? header['kid'] : undefined;
  return {
    keyId,
    claims,
    signed: `${head}.${body}`,
    signature: Buffer.from(signature, 'base64url'),
  };
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function decode(text: string): Claims | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Claims) : undefined;
  } catch {
    return undefined;
  }
}
