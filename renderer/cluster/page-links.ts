// Links by which the home's other devices open this page. A link is made when somebody asks for it: each is one way in.
import type { RestClient } from '#kube/client/rest-client.ts';

const path = '/flotilla/page-links';

export interface PageLink {
  /** The likeliest to work first; never none. */
  readonly urls: readonly string[];
  /** RFC 3339. */
  readonly expires: string;
}

/** Throws a StatusError whose message is a sentence. */
export function makePageLink(client: RestClient): Promise<PageLink> {
  return client.json<PageLink>({ method: 'POST', path });
}

export async function endPageSessions(client: RestClient): Promise<void> {
  await client.json<unknown>({ method: 'DELETE', path });
}
