// Who may use the page's listeners: a one-time token is traded for a signed cookie. The cookie carries its own
// proof, so that a page left open goes on after the control plane was killed and started again, and on the home's
// devices also with another member of it; all that is kept is the signing key.
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Clock } from '#kube/base/clock.ts';
import type { Random } from '#kube/base/random.ts';

const lifetimeSeconds = 30 * 86_400;

export interface UiSessionsDeps {
  /** 32 bytes that survive restarts. */
  readonly key: Uint8Array;
  /** By HTTPS: browsers send it by nothing else. Some would drop such a cookie of plain HTTP on loopback. */
  readonly isSecure?: boolean;
  /** Sessions that began before are over, in ms; for "sign out everywhere". */
  readonly endedBeforeMs?: () => number;
  readonly clock: Clock;
  readonly random: Random;
}

export class UiSessions {
  readonly #deps: UiSessionsDeps;
  /** Differs between clusters: cookies are shared by all ports of a host. */
  readonly cookieName: string;

  constructor(deps: UiSessionsDeps) {
    this.#deps = deps;
    const prefix = deps.isSecure === true ? '__Host-flotilla' : 'flotilla';
    this.cookieName = `${prefix}-${this.#sign('cookie name').slice(0, 8)}`;
  }

  /** The `Set-Cookie` value of a new session. */
  open(): string {
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
    const endMs = Number(expiresAt) * 1000;
    const beginMs = endMs - lifetimeSeconds * 1000;
    const { clock, endedBeforeMs } = this.#deps;
    return isGenuine && endMs > clock.now() && beginMs >= (endedBeforeMs?.() ?? 0);
  }

  #cookie(value: string, maxAgeSeconds: number): string {
    const secure = this.#deps.isSecure === true ? ' Secure;' : '';
    const attributes = `Path=/;${secure} HttpOnly; SameSite=Strict; Max-Age=${maxAgeSeconds}`;
    return `${this.cookieName}=${value}; ${attributes}`;
  }

  #sign(text: string): string {
    return createHmac('sha256', this.#deps.key).update(text).digest('base64url');
  }
}
