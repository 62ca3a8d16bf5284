// Lists: which revision a list is made of, and pages of it. Newest lists come from the cache,
// once it has caught up; pages and exact revisions come from the store's history.
// A continue token is the revision of the first page and the key to start at; revision -1 means
// "whatever is there now" (handed out when the history of an expired token is gone).
// Source: kubernetes apiserver pkg/storage/{continue.go,etcd3/store.go}, the table of list
// semantics in the API concepts documentation.
import { badRequest, expired, resourceVersionTooLarge } from '#kube/machinery/status.ts';
import { CompactedError, FutureRevisionError, type Store } from '../store/store.ts';
import type { Cacher } from './cacher.ts';
import type { ResourceDefinition } from './resource.ts';
import { parseResourceVersion } from './resource-version.ts';
import { selectorOf, type Selection, type Selector } from './selection.ts';
import type { StorageCodec, StoredObject } from './storage-codec.ts';
import { storeCall } from './store-errors.ts';

export interface ListQuery extends Selection {
  /** 0: no limit. */
  readonly limit: number;
  /** '' for the first page. */
  readonly continueToken: string;
  readonly resourceVersion: string;
  readonly resourceVersionMatch: string;
}

export interface ListPage {
  readonly items: readonly StoredObject[];
  /** The store's revision at the snapshot, not the newest item's. */
  readonly revision: number;
  /** '' when the list is whole. */
  readonly continueToken: string;
  /** Undefined when unknown (with selectors) or nothing remains. */
  readonly remaining: number | undefined;
}

export interface ListDeps {
  readonly definition: ResourceDefinition;
  readonly store: Store;
  readonly cacher: Cacher;
  readonly codec: StorageCodec;
}

const inconsistentRevision = -1;
/** Rows read from the store at a time while a selector drops most of them. */
const scanSize = 500;

/** Throws 400, 410 Expired and 504 ResourceVersionTooLarge. */
export async function listObjects(deps: ListDeps, query: ListQuery): Promise<ListPage> {
  const selector = selectorOf(deps.definition, query);
  if (query.continueToken !== '') return listNextPage(deps, query, selector);
  const asked = parseResourceVersion(query.resourceVersion);
  const isLegacyExact = query.resourceVersionMatch === '' && query.limit > 0 && asked > 0;
  if (query.resourceVersionMatch === 'Exact' || isLegacyExact)
    return listExactly(deps, query, selector, asked);
  if (query.resourceVersion === '') await deps.cacher.waitUntilCurrent();
  else await deps.cacher.waitForRevision(asked);
  return pageOfCache(deps, query, selector);
}

/** The cache has to be as it was at `revision`. */
async function pageOfCache(
  { cacher, codec }: ListDeps,
  query: ListQuery,
  selector: Selector,
  { revision, startKey }: { readonly revision: number; readonly startKey: string } = {
    revision: cacher.revision,
    startKey: '',
  },
): Promise<ListPage> {
  const { matches, prefix, onlyKey } = selector;
  let items: readonly StoredObject[];
  if (onlyKey === undefined) items = cacher.list(prefix);
  else items = [cacher.get(onlyKey)].filter((stored) => stored !== undefined);
  if (startKey !== '') items = items.filter(({ key }) => key >= startKey);
  if (matches !== undefined) {
    await codec.prepare(items);
    items = items.filter(matches);
  }
  const isWhole = query.limit === 0 || items.length <= query.limit;
  const page = isWhole ? items : items.slice(0, query.limit);
  await codec.prepare(page);
  if (isWhole) return { items, revision, continueToken: '', remaining: undefined };
  const remaining = matches === undefined ? items.length - query.limit : undefined;
  return { items: page, revision, continueToken: tokenAfter(page, prefix, revision), remaining };
}

async function listExactly(
  deps: ListDeps,
  query: ListQuery,
  selector: Selector,
  revision: number,
): Promise<ListPage> {
  // A revision the cache has not seen may be one the store is about to make.
  await deps.cacher.waitForRevision(revision);
  try {
    return await pageOfStore(deps, query, selector, { revision, startKey: selector.prefix });
  } catch (error) {
    if (error instanceof CompactedError)
      throw expired('The resourceVersion for the provided list is too old.');
    throw error;
  }
}

async function listNextPage(
  deps: ListDeps,
  query: ListQuery,
  selector: Selector,
): Promise<ListPage> {
  if (query.resourceVersion !== '' && query.resourceVersion !== '0')
    throw badRequest('specifying resource version is not allowed when using continue');
  const { revision, start } = decodeToken(query.continueToken);
  const startKey = `${selector.prefix}${start}`;
  // Nothing changed since the first page: the cache has the others too, decoded.
  if (revision > deps.store.compactedRevision() && deps.cacher.isAsAt(revision))
    return await pageOfCache(deps, query, selector, { revision, startKey });
  try {
    return await pageOfStore(deps, query, selector, {
      revision: revision > 0 ? revision : undefined,
      startKey,
    });
  } catch (error) {
    if (!(error instanceof CompactedError)) throw error;
    const gone = expired(expiredTokenMessage);
    gone.status.metadata = { continue: encodeToken(inconsistentRevision, start) };
    throw gone;
  }
}

interface Position {
  /** Undefined: now. */
  readonly revision: number | undefined;
  readonly startKey: string;
}

/** Reads on until the page is full or the store has no more. */
async function pageOfStore(
  deps: ListDeps,
  query: ListQuery,
  { prefix, matches }: Selector,
  position: Position,
): Promise<ListPage> {
  const items: StoredObject[] = [];
  let { revision, startKey } = position;
  for (;;) {
    const wanted = query.limit === 0 ? undefined : query.limit - items.length;
    const limit = matches === undefined ? wanted : wanted && Math.max(wanted, scanSize);
    const result = await readStore(deps, prefix, { revision, startKey, limit });
    revision = result.revision;
    const rows = result.items.map((kv) => storedFor(deps, kv));
    await deps.codec.prepare(rows);
    for (const [index, stored] of rows.entries()) {
      if (matches !== undefined && !matches(stored)) continue;
      items.push(stored);
      const remaining = result.remaining + result.items.length - index - 1;
      if (items.length !== query.limit || remaining === 0) continue;
      const continueToken = tokenAfter(items, prefix, revision);
      return {
        items,
        revision,
        continueToken,
        remaining: matches === undefined ? remaining : undefined,
      };
    }
    const last = result.items.at(-1);
    if (result.remaining === 0 || last === undefined)
      return { items, revision, continueToken: '', remaining: undefined };
    startKey = `${last.key}\0`;
  }
}

async function readStore(
  { store, definition }: ListDeps,
  prefix: string,
  options: { revision: number | undefined; startKey: string; limit: number | undefined },
): ReturnType<Store['list']> {
  const { revision, startKey, limit } = options;
  try {
    return await storeCall(definition, 'list', () =>
      store.list(prefix, {
        startKey,
        ...(revision === undefined ? {} : { revision }),
        ...(limit === undefined ? {} : { limit }),
      }),
    );
  } catch (error) {
    if (error instanceof FutureRevisionError)
      throw resourceVersionTooLarge(String(revision), String(error.currentRevision));
    throw error;
  }
}

/** The cache's form of a row where it has the same revision: decoded already. */
function storedFor({ cacher, codec }: ListDeps, kv: Parameters<StorageCodec['stored']>[0]) {
  const cached = cacher.get(kv.key);
  return cached?.revision === kv.modRevision ? cached : codec.stored(kv);
}

function tokenAfter(page: readonly StoredObject[], prefix: string, revision: number): string {
  return encodeToken(revision, `${page.at(-1)?.key.slice(prefix.length) ?? ''}\0`);
}

function encodeToken(revision: number, start: string): string {
  const text = JSON.stringify({ v: 'meta.k8s.io/v1', rv: revision, start });
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

function decodeToken(token: string): { revision: number; start: string } {
  let fields: { v?: unknown; rv?: unknown; start?: unknown };
  try {
    fields = JSON.parse(atob(token.replaceAll('-', '+').replaceAll('_', '/'))) as typeof fields;
  } catch {
    throw badRequest('continue key is not valid: illegal base64 or JSON data');
  }
  const { v, rv, start } = fields;
  if (v !== 'meta.k8s.io/v1')
    throw badRequest(
      `continue key is not valid: server does not recognize this encoded version "${String(v)}"`,
    );
  if (typeof rv !== 'number' || !Number.isSafeInteger(rv) || rv === 0)
    throw badRequest('continue key is not valid: incorrect encoded start resourceVersion');
  if (typeof start !== 'string' || start === '')
    throw badRequest('continue key is not valid: encoded start key empty');
  if (start.includes('..'))
    throw badRequest(`continue key is not valid: "${start}" contains a path traversal`);
  return { revision: rv, start };
}

const expiredTokenMessage =
  'The provided continue parameter is too old to display a consistent list result. ' +
  'You can start a new list without the continue parameter, or use the continue token in this ' +
  'response to retrieve the remainder of the results. Continuing with the provided token results ' +
  'in an inconsistent list - objects that were created, modified, or deleted between the time the ' +
  'first chunk was returned and now may show up in the list.';
