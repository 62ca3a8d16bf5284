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

export type Claims = Readonly<Record<string, unknown>>;

/** The key that signs the cluster's tokens. Every member of the control plane has the same. */
export class TokenKey {
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

  /** RFC 7517. */
  jwk(): object {
    return { use: 'sig', kid: this.id, alg: 'ES256', ...this.#public.export({ format: 'jwk' }) };
  }
}

export interface ParsedToken {
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
  return { claims, signed: `${head}.${body}`, signature: Buffer.from(signature, 'base64url') };
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
