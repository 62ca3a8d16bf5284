// Who may use the UI's listener: a one-time token, printed at start, is traded for a signed cookie.
// The cookie carries its own proof, so that a page left open goes on after the control plane was
// killed and started again; the signing key is a file in the data directory.
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Clock } from '#kube/base/clock.ts';
import type { Random } from '#kube/base/random.ts';

const lifetimeSeconds = 30 * 86_400;
/** Unused tokens kept at most; the oldest go first. */
const maxTokens = 32;

export interface UiSessionsDeps {
  /** 32 bytes that survive restarts. */
  readonly key: Uint8Array;
  readonly clock: Clock;
  readonly random: Random;
}

export class UiSessions {
  readonly #deps: UiSessionsDeps;
  readonly #tokens = new Set<string>();
  /** Differs between clusters: cookies are shared by all ports of a host. */
  readonly cookieName: string;

  constructor(deps: UiSessionsDeps) {
    this.#deps = deps;
    this.cookieName = `flotilla-${this.#sign('cookie name').slice(0, 8)}`;
  }

  /** A token that opens one session. */
  mintToken(): string {
    const token = Buffer.from(this.#deps.random.bytes(32)).toString('base64url');
    this.#tokens.add(token);
    const [oldest] = this.#tokens;
    if (this.#tokens.size > maxTokens && oldest !== undefined) this.#tokens.delete(oldest);
    return token;
  }

  /** The `Set-Cookie` value for a token, which is spent by this; undefined when it is none. */
  redeem(token: string): string | undefined {
    if (!this.#tokens.delete(token)) return undefined;
    const id = Buffer.from(this.#deps.random.bytes(16)).toString('base64url');
    const expiresAt = Math.floor(this.#deps.clock.now() / 1000) + lifetimeSeconds;
    const claim = `${id}.${expiresAt}`;
    return this.#cookie(`${claim}.${this.#sign(claim)}`, lifetimeSeconds);
  }

  /** The `Set-Cookie` value that ends a session in the browser. */
  expiredCookie(): string {
    return this.#cookie('', 0);
  }

  isSignedIn(cookieHeader: string | undefined): boolean {
    const prefix = `${this.cookieName}=`;
    return (cookieHeader ?? '')
      .split(';')
      .map((entry) => entry.trim())
      .filter((entry) => entry.startsWith(prefix))
      .some((entry) => this.#isValid(entry.slice(prefix.length)));
  }

  #isValid(value: string): boolean {
    const [id = '', expiresAt = '', signature = ''] = value.split('.');
    const given = Buffer.from(signature);
    const wanted = Buffer.from(this.#sign(`${id}.${expiresAt}`));
    const isGenuine = given.length === wanted.length && timingSafeEqual(given, wanted);
    return isGenuine && Number(expiresAt) * 1000 > this.#deps.clock.now();
  }

  /** Not `Secure`: the listener is plain HTTP on loopback, where some browsers would drop it. */
  #cookie(value: string, maxAgeSeconds: number): string {
    const attributes = `Path=/; HttpOnly; SameSite=Strict; Max-Age=${maxAgeSeconds}`;
    return `${this.cookieName}=${value}; ${attributes}`;
  }

  #sign(text: string): string {
    return createHmac('sha256', this.#deps.key).update(text).digest('base64url');
  }
}
