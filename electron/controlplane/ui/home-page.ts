// The page for the home's other devices, by HTTPS on every member that listens for others: with the laptop closed, a
// phone goes on with any of them. The certificate is of the home's authority, which is published for devices to
// trust; it is made in memory, anew at each start and whenever that authority is another.
// Opened by a link only, which somebody who is in has made: good once, for ten minutes.
import type { ConfigMap } from '#kube/api/core.ts';
import { delay, rfc3339, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import type { InformerFactory } from '#kube/client/informer.ts';
import { configMaps, nodes } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { appsCaMap } from '#kube/machinery/app-names.ts';
import { homePageName, homePagePort, isHomePageName } from '#kube/machinery/home-page.ts';
import { ingressNode } from '#kube/machinery/ingress.ts';
import { hasReason } from '#kube/machinery/status.ts';
import type { AppsAuthority } from '#platform/apps-authority.ts';
import { makeKey, publicKeyDer, type KeyPairPem } from '#platform/certificate.ts';
import type { ApiHandler } from '../apiserver/http.ts';
import { homeDoor } from './door.ts';
import { UiServer } from './server.ts';
import { UiSessions } from './sessions.ts';
import { StoredTokens } from './tokens.ts';

export interface HomePageDeps {
  readonly handler: ApiHandler;
  /** The built renderer. */
  readonly directory: string;
  /** Of the control plane itself. */
  readonly client: Pick<RestClient, 'create' | 'get' | 'list' | 'delete' | 'patch'>;
  readonly informers: InformerFactory;
  readonly authority: Pick<AppsAuthority, 'certify'>;
  /** Signs sessions, the same on each member. */
  readonly sessionKey: Uint8Array;
  readonly host: string;
  readonly port: number;
  /** As others reach this machine, most likely first. */
  readonly addresses: () => readonly string[];
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** A sentence for a person, while everything else goes on. */
  readonly onNotice: (sentence: string) => void;
  readonly signal: AbortSignal;
}

export interface PageLink {
  /** By name first, if the home is told one; by address for devices that don't know names of the home. */
  readonly urls: readonly string[];
  readonly expires: string;
}

/** When all sessions began to be over. */
const sessionsMap = { namespace: 'kube-system', name: 'flotilla-page', key: 'endedBefore' };
/** Another device may have the name. */
const names = [
  homePageName,
  ...[2, 3, 4].map((number) => homePageName.replace('.', `-${number}.`)),
];
const renewMs = 24 * 3_600_000;

export class HomePage {
  readonly #deps: HomePageDeps;
  readonly #tokens: StoredTokens;
  #server: UiServer | undefined;
  /** Undefined while it does not listen. */
  #port: number | undefined;
  readonly #opened = Promise.withResolvers<void>();
  #endedBeforeMs = 0;
  #work: Promise<void> = Promise.resolve();

  constructor(deps: HomePageDeps) {
    this.#deps = deps;
    this.#tokens = new StoredTokens(deps);
  }

  /** Listens as soon as the home has an authority; never throws. */
  start(): void {
    const { informers, signal } = this.#deps;
    let chain: string | undefined;
    const authorities = informers.informer(configMaps, {
      namespace: appsCaMap.namespace,
      fieldSelector: `metadata.name=${appsCaMap.name}`,
    });
    const onAuthority = ({ data }: ConfigMap): void => {
      const published = data?.[appsCaMap.key];
      if (published === undefined || published === chain) return;
      chain = published;
      this.#then(() => this.#serve(published));
    };
    authorities.addHandler({ onAdd: onAuthority, onUpdate: (_old, map) => onAuthority(map) });
    const endings = informers.informer(configMaps, {
      namespace: sessionsMap.namespace,
      fieldSelector: `metadata.name=${sessionsMap.name}`,
    });
    const onEnding = ({ data }: ConfigMap): void => {
      // What can't be read ends them all: rather that than none.
      const endedMs = Date.parse(data?.[sessionsMap.key] ?? '');
      this.#endedBeforeMs = Number.isNaN(endedMs) ? Infinity : endedMs;
    };
    endings.addHandler({ onAdd: onEnding, onUpdate: (_old, map) => onEnding(map) });
    void this.#renewDaily(() => chain, signal);
  }

  /** Undefined: no other device reaches this member's page. */
  get port(): number | undefined {
    return this.#port;
  }

  /** Resolves when other devices reach it; perhaps never. */
  get whenOpen(): Promise<void> {
    return this.#opened.promise;
  }

  /** Undefined as `port` is. */
  async link(): Promise<PageLink | undefined> {
    const port = this.#port;
    if (port === undefined) return undefined;
    const { token, expires } = await this.#tokens.mint();
    const own = this.#deps.addresses().map((address) => `${address}:${port}`);
    const hosts = [...(await this.#toldPlaces()), ...own];
    return { urls: hosts.map((host) => `https://${host}/#token=${token}`), expires };
  }

  /** What the home is told now, with the port of the member that leads: the name is its machine's. */
  async #toldPlaces(): Promise<string[]> {
    const { items } = await this.#deps.client.list(nodes);
    const port = items.map(homePagePort).find((one) => one !== undefined);
    if (port === undefined) return [];
    return items
      .flatMap(
        ({ metadata }) => metadata.annotations?.[ingressNode.namesAnnotation]?.split(',') ?? [],
      )
      .filter(isHomePageName)
      .map((name) => `${name}:${port}`);
  }

  /** On all devices, by all members. */
  async endSessions(): Promise<void> {
    const { client, clock } = this.#deps;
    const { key, ...ref } = sessionsMap;
    // The second that a session begins in is its claim: one of this second is over, too.
    const data = { [key]: rfc3339(clock.now() + 1000) };
    try {
      await client.patch(configMaps, ref, { data });
    } catch (error) {
      if (!hasReason(error, 'NotFound')) throw error;
      await client.create(configMaps, {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: ref,
        data,
      });
    }
  }

  async stop(): Promise<void> {
    await this.#work;
    await this.#server?.stop();
  }

  /** One after the other: a start takes a moment. */
  #then(work: () => Promise<void>): void {
    this.#work = this.#work.then(work).catch((error: unknown) => {
      this.#deps.logger.error('The page for other devices has no certificate', { error });
    });
  }

  async #serve(chain: string): Promise<void> {
    const { host, port, signal, onNotice, logger } = this.#deps;
    if (signal.aborted) return;
    const certificate = this.#certificate(chain);
    if (this.#server !== undefined) return this.#server.setCertificate(certificate);
    const server = this.#create(certificate);
    try {
      this.#port = await server.start(port, host);
      this.#server = server;
      this.#opened.resolve();
      logger.info('Serves the page for other devices', { port: this.#port });
    } catch (error) {
      onNotice(`Other devices can't open the page of this machine: ${(error as Error).message}.`);
    }
  }

  #create(certificate: KeyPairPem): UiServer {
    const { handler, directory, sessionKey, clock, random, logger } = this.#deps;
    const sessions = new UiSessions({
      key: sessionKey,
      isSecure: true,
      endedBeforeMs: () => this.#endedBeforeMs,
      clock,
      random,
    });
    const door = homeDoor(certificate);
    return new UiServer({
      handler,
      door,
      sessions,
      tokens: this.#tokens,
      directory,
      clock,
      logger,
    });
  }

  #certificate(chain: string): KeyPairPem {
    const keyPem = makeKey();
    const asked = { publicKey: publicKeyDer(keyPem), dnsNames: names };
    return { keyPem, certPem: this.#deps.authority.certify(asked, chain) };
  }

  async #renewDaily(chain: () => string | undefined, signal: AbortSignal): Promise<void> {
    for (;;) {
      await delay(this.#deps.clock, renewMs, signal);
      if (signal.aborted) return;
      const present = chain();
      if (present !== undefined) this.#then(() => this.#serve(present));
    }
  }
}
